"""Whether a pod suffers: its signal against its own past, and against its twins at the same moment.

A signal is anything that grows as a pod suffers: pressure (PSI), throttling, waiting for a CPU, the latency that it exports. Its past is a mean and a
mean deviation that forget slowly, and take an outlier for no more than the threshold, so that a long disturbance does not become the norm at once. Twins
(other pods of the workload) tell load from disturbance: where all of them suffer alike, the workload has more to do, and nobody beside it is to blame.
"""

from typing import NamedTuple


class AnomalySettings(NamedTuple):
    """What is out of the ordinary.

    Attributes:
        deviations: so many mean deviations above the mean.
        ratio: and at least so many times the mean, and so many times the twins' median.
        floor: and at least so much, in the signal's unit: below, nobody suffers.
        learning: the weight of a new value in the mean and the deviation.
        samples: before so many there is no past.
    """

    deviations: float = 4.0
    ratio: float = 1.3
    floor: float = 0.0
    learning: float = 0.015
    samples: int = 20


class Baseline(NamedTuple):
    """What is ordinary for one signal of one pod."""

    mean: float = 0.0
    deviation: float = 0.0
    samples: int = 0


class Anomaly(NamedTuple):
    """A value that is out of the ordinary, and the threshold that it passed."""

    value: float
    threshold: float


def threshold_of(baseline: Baseline, twins: float, settings: AnomalySettings) -> float:
    """What a value must pass; without a past, nothing passes it. `twins` is their median, 0 where nobody knows it."""
    if baseline.samples < settings.samples:
        return float("inf")
    own = max(baseline.mean + settings.deviations * baseline.deviation, baseline.mean * settings.ratio)
    return max(own, twins * settings.ratio, settings.floor)


def judged(
    value: float, baseline: Baseline, settings: AnomalySettings, twins: float = 0.0
) -> tuple[Anomaly | None, Baseline]:
    """Whether a value is out of the ordinary, and what is ordinary from now on."""
    threshold = threshold_of(baseline, twins, settings)
    found = Anomaly(value, threshold) if value > threshold else None
    return found, learnt(baseline, min(value, threshold), settings)


def learnt(baseline: Baseline, value: float, settings: AnomalySettings) -> Baseline:
    """The baseline with one more value: a plain mean of the first ones, then one that forgets."""
    mean, deviation, samples = baseline
    weight = max(settings.learning, 1 / (samples + 1))
    return Baseline(mean + weight * (value - mean), deviation + weight * (abs(value - mean) - deviation), samples + 1)
