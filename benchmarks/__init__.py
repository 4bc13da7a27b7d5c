"""Measurements: one JSON line per figure, each beside a peer or a bound from the same run where there is one."""
