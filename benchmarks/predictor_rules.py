"""Predictors of a machine's peak: at each sample, from what was seen up to it, what will not be exceeded.

Each takes machines and gives milli-CPU [machines, samples]. Rules are re-implemented from the sources in reference 3.3 ("Take it to the limit",
EuroSys 2021, and its simulator cluster-resource-forecast) and from Koordinator's predictor, whose code here is the policy's own.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.predictor_headroom import Headroom, HeadroomSettings
from benchmarks.predictor_series import Floats, Machines
from neaptide.forecast.histograms import DecayingHistograms
from neaptide.forecast.history import CPU_BUCKETS
from neaptide.forecast.peaks import PeakSettings, with_margin

Rule = Callable[[Machines], Floats]
_WINDOW = 24  # samples, as the simulator's documents configure it
_HOUR = 3600.0


def by_request(machines: Machines) -> Floats:
    """What Kubernetes does: nothing is reclaimed."""
    found: Floats = np.repeat(machines.request.sum(axis=1)[:, None], machines.used.shape[2], axis=1)
    return found


def borg_default(machines: Machines) -> Floats:
    """A fixed part of what is requested."""
    return 0.9 * by_request(machines)


def rc_like(machines: Machines, percentile: float) -> Floats:
    """The sum of a percentile of each pod's latest samples."""
    return _least(np.percentile(_recent(machines.used), percentile, axis=-1).sum(axis=1), machines)


def n_sigma(machines: Machines, number: float) -> Floats:
    """Mean and standard deviations of the whole's latest samples."""
    recent = _recent(machines.used.sum(axis=1))
    return _least(recent.mean(axis=-1) + number * recent.std(axis=-1), machines)


def larger(machines: Machines, number: float, percentile: float) -> Floats:
    """The one that the paper chose."""
    return np.maximum(n_sigma(machines, number), rc_like(machines, percentile))


def koordinator(machines: Machines) -> Floats:
    """95th percentile of decaying histograms and 10 %: the larger of the sum over pods and of the pods as one series."""
    settings = PeakSettings()
    number, pods, samples = machines.used.shape
    histograms = DecayingHistograms(CPU_BUCKETS, 12 * _HOUR, series=number * (pods + 1))
    every = np.concatenate((machines.used.reshape(number * pods, samples), machines.used.sum(axis=1)))
    rows, found = np.arange(len(every)), np.empty((number, samples))
    for at in range(samples):
        histograms.add(rows, every[:, at], at * machines.step)
        peaks = with_margin(histograms.percentile(settings.cpu_percentile), settings)
        by_pod = np.minimum(peaks[: number * pods].reshape(number, pods), machines.request).sum(axis=1)
        found[:, at] = np.maximum(by_pod, peaks[number * pods :])
    return _least(found, machines)


def headroom(machines: Machines, settings: HeadroomSettings = HeadroomSettings()) -> Floats:  # noqa: B008 - frozen
    """The one that was tried: predictor_headroom.py."""
    whole = machines.used.sum(axis=1)
    predictor, found = Headroom(settings, len(whole)), np.empty_like(whole)
    rows = np.arange(len(whole))
    for at in range(whole.shape[1]):
        predictor.observe(rows, whole[:, at], at * machines.step)
        found[:, at] = predictor.peak()
    return _least(np.nan_to_num(found, nan=np.inf), machines)


def oracle(machines: Machines, horizon: float = _HOUR) -> Floats:
    """The least that will not be exceeded within the horizon, which nobody knows."""
    return ahead(machines.used.sum(axis=1), max(round(horizon / machines.step), 1))


RULES: dict[str, Rule] = {
    "requests": by_request,
    "borg_default": borg_default,
    "rc_like_p90": partial(rc_like, percentile=90.0),
    "n_sigma_5": partial(n_sigma, number=5.0),
    "max_n_sigma_5_rc_p90": partial(larger, number=5.0, percentile=90.0),
    "max_n_sigma_3_rc_p80": partial(larger, number=3.0, percentile=80.0),
    "koordinator": koordinator,
    "headroom": headroom,
    "oracle_hour": oracle,
}


def ahead(whole: Floats, samples: int) -> Floats:
    """The largest of the next samples, without the present one; at the end, of those that are left."""
    padded = np.concatenate((whole[:, 1:], np.repeat(whole[:, -1:], samples, axis=1)), axis=1)
    found: Floats = sliding_window_view(padded, samples, axis=1).max(axis=-1)[:, : whole.shape[1]]
    return found


def _least(predicted: Floats, machines: Machines) -> Floats:
    """Nobody predicts more than is requested."""
    found: Floats = np.minimum(predicted, by_request(machines))
    return found


def _recent(values: Floats) -> Floats:
    """Each sample with those before it; the first ones have fewer, and are repeated."""
    first = np.repeat(values[..., :1], _WINDOW - 1, axis=-1)
    return sliding_window_view(np.concatenate((first, values), axis=-1), _WINDOW, axis=-1)
