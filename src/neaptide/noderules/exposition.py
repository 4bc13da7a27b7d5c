"""A latency from what a service exports in Prometheus' text format: a histogram, a summary, or a plain gauge of seconds.

A histogram counts since the service began, so that two readings are compared, and what lies between them is what was slow lately: the
quantile is found by its bucket and, within it, linearly, as Prometheus' `histogram_quantile` does. Label sets are added up.
"""

import re
from collections.abc import Mapping
from math import inf, isfinite, isnan, nan
from typing import NamedTuple

_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')


class Exposed(NamedTuple):
    """What a metric says at one moment.

    Attributes:
        buckets: by upper bound, how many observations were not above it so far; none where it is no histogram.
        quantiles: of a summary, seconds by quantile; the slowest of all label sets.
        value: of a gauge; the largest of all label sets, nan where there is none.
    """

    buckets: Mapping[float, float]
    quantiles: Mapping[float, float]
    value: float


def exposed(text: str, metric: str) -> Exposed:
    """A metric in what a service exports; lines that cannot be read are passed over."""
    buckets: dict[float, float] = {}
    quantiles: dict[float, float] = {}
    largest = nan
    for line in text.splitlines():
        if not line.startswith(metric):
            continue
        name, labels, value = _sample(line)
        if name == f"{metric}_bucket" and isfinite(value):
            bound = _number(labels.get("le", ""))
            buckets[bound] = buckets.get(bound, 0.0) + value
        elif name == metric and isfinite(value):
            if "quantile" in labels:
                quantile = _number(labels["quantile"])
                quantiles[quantile] = max(quantiles.get(quantile, 0.0), value)
            else:
                largest = value if isnan(largest) else max(largest, value)
    return Exposed(buckets, quantiles, largest)


def latency(before: Exposed | None, now: Exposed, quantile: float) -> float | None:
    """Seconds; None where nothing was asked of the service since the last reading, or nobody knows."""
    if now.buckets:
        return None if before is None else _between(before.buckets, now.buckets, quantile)
    if now.quantiles:
        fitting = [each for each in now.quantiles if each >= quantile]
        return now.quantiles[min(fitting)] if fitting else None
    return None if isnan(now.value) else now.value


def _between(before: Mapping[float, float], now: Mapping[float, float], quantile: float) -> float | None:
    bounds = sorted(bound for bound in now if not isnan(bound))
    counts = [now[bound] - before.get(bound, 0.0) for bound in bounds]
    if len(bounds) < 2 or bounds[-1] != inf or min(counts) < 0 or counts[-1] <= 0:
        return None
    rank, low, below = quantile * counts[-1], 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= rank and count > below:
            return low if bound == inf else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, max(count, below)
    return None


def _sample(line: str) -> tuple[str, Mapping[str, str], float]:
    """Name, labels, value of a line; nan where it has none."""
    name, brace, rest = line.partition("{")
    if not brace:
        words = line.split()
        return words[0], {}, _number(words[1]) if len(words) > 1 else nan
    inside, _, after = rest.rpartition("}")
    words = after.split()
    return name.strip(), dict(_LABEL.findall(inside)), _number(words[0]) if words else nan


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan
