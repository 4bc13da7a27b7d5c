"""Who makes a pod suffer: whose use of the node goes up and down with the victim's signal.

Source: CPI², "CPU performance isolation for shared compute clusters" (EuroSys 2013), section 4.2: each sample of a suspect's use, as a part of all its use in the window, counts for
it by how far the victim's signal was above the threshold, and against it by how far it was below. The score is between -1 and 1. Where a signal never came back below
the threshold a suspect that runs all the time scores as high as the culprit, so the linear correlation of the two series must speak for it, too.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import NamedTuple


class Culprit(NamedTuple):
    """A suspect, and how sure it is (0 to 1)."""

    pod: str
    confidence: float


def score(signal: Sequence[float], threshold: float, used: Sequence[float]) -> float:
    """CPI²'s correlation of a victim's signal and a suspect's use, sample by sample; -1 to 1, 0 where the suspect used nothing."""
    whole = sum(used)
    if whole <= 0 or threshold <= 0:
        return 0.0
    found = 0.0
    for value, part in zip(signal, used, strict=True):
        if value > threshold:
            found += part / whole * (1 - threshold / value)
        elif value < threshold:
            found += part / whole * (value / threshold - 1)
    return found


def correlation(signal: Sequence[float], used: Sequence[float]) -> float:
    """Pearson's; 0 where one of the two does not change."""
    number = len(signal)
    if number < 3:
        return 0.0
    of_signal, of_use = sum(signal) / number, sum(used) / number
    both = sum((value - of_signal) * (part - of_use) for value, part in zip(signal, used, strict=True))
    spread = sum((value - of_signal) ** 2 for value in signal) * sum((part - of_use) ** 2 for part in used)
    return both / sqrt(spread) if spread > 0 else 0.0


def ranked(
    signal: Sequence[float], threshold: float, suspects: Mapping[str, Sequence[float]], *, weight: float = 0.5
) -> list[Culprit]:
    """The suspects, the surest first; `weight` is that of the linear correlation in the confidence."""
    found = []
    for pod, used in suspects.items():
        together = correlation(signal, used)
        if together <= 0:
            continue
        above = max(score(signal, threshold, used), 0.0)
        likely = weight * together + (1 - weight) * min(1.0, sqrt(above))
        found.append(Culprit(pod, likely))
    return sorted(found, key=lambda each: (-each.confidence, each.pod))
