"""How long a job will run, judged by how long its owner's earlier jobs ran."""

from collections.abc import Sequence
from math import ceil

KEPT_RUNS = 20


def with_run(past: Sequence[float], seconds: float) -> tuple[float, ...]:
    """An owner's run times with one more; the latest `KEPT_RUNS` are kept."""
    return (*past, seconds)[-KEPT_RUNS:]


def run_time(past: Sequence[float], fraction: float = 0.9) -> float | None:
    """The run time in seconds that `fraction` of an owner's past runs did not pass; None where there were none."""
    return sorted(past)[max(ceil(fraction * len(past)) - 1, 0)] if past else None
