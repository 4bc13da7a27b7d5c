"""A predictor that was tried beside Koordinator's: a bound that learns how often it is wrong (docs/benchmarks.md says how it did).

The bound is the lower of two: the largest use of the last hour times a quantile of how far hours rose above the one before them, and a quantile of
what hours came to. Which quantile is learnt: it rises at every hour that went beyond the bound and falls slowly while none does, so that in the
long run the chosen part of the hours goes beyond, whatever the series does (adaptive conformal inference, Gibbs and Candès, NeurIPS 2021).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_LEAST = 1.0  # milli-CPU or bytes: below, ratios mean nothing


class HeadroomSettings(NamedTuple):
    """What is promised, and from how much of the past.

    Attributes:
        horizon_seconds: what is bounded is the largest use within this time.
        exceeded: which part of the horizons may go beyond the bound.
        slots: into how many the horizon is divided; a slot keeps the largest use in it.
        rises: how many of the latest rises are remembered.
        gain: how fast the quantile is learnt.
    """

    horizon_seconds: float = 3600.0
    exceeded: float = 0.005
    slots: int = 12
    rises: int = 864
    gain: float = 0.1


class Headroom:
    """Bounds of several series, a row each."""

    def __init__(self, settings: HeadroomSettings, series: int) -> None:
        self.settings = settings
        self._slot = np.full(series, -1, dtype=np.int64)
        self._open = np.full(series, np.nan)
        self._peaks = np.full((series, 2 * settings.slots), np.nan)
        self._bounds = np.full((series, settings.slots), np.nan)
        self._rises = np.full((series, settings.rises), np.nan)
        self._came = np.full((series, settings.rises), np.nan)
        self._level = np.full(series, 1.0 - settings.exceeded)
        self._bound = np.full(series, np.nan)

    def observe(self, rows: IntArray, used: FloatArray, now: float) -> None:
        """Take in what some series (each row once) use now; nan is passed over."""
        known = ~np.isnan(used)
        rows, used = rows[known], np.maximum(used[known], _LEAST)
        slot = int(now // (self.settings.horizon_seconds / self.settings.slots))
        over = rows[(self._slot[rows] >= 0) & (self._slot[rows] != slot)]
        if len(over):
            self._close(over)
        self._slot[rows] = slot
        self._open[rows] = np.fmax(self._open[rows], used)
        self._bound[rows] = self._bounded(rows)

    def peak(self) -> FloatArray:
        """By row, what will not be exceeded within the horizon as often as promised; nan before anything is known."""
        return self._bound

    def _close(self, rows: IntArray) -> None:
        """A slot has ended: what was promised a horizon ago is held against what came."""
        settings, slots = self.settings, self.settings.slots
        peaks = np.concatenate((self._peaks[rows, 1:], self._open[rows, None]), axis=1)
        self._peaks[rows], self._open[rows] = peaks, np.nan
        came, before = peaks[:, slots:].max(axis=1), peaks[:, :slots].max(axis=1)
        whole = ~np.isnan(came) & ~np.isnan(before)
        for kept, new in ((self._rises, np.log(came / before)), (self._came, came)):
            kept[rows] = np.where(whole[:, None], np.concatenate((kept[rows, 1:], new[:, None]), axis=1), kept[rows])
        promised = self._bounds[rows, 0]
        wrong = came > promised
        learnt = self._level[rows] + settings.gain * (wrong - settings.exceeded)
        self._level[rows] = np.where(whole & ~np.isnan(promised), np.clip(learnt, 0.5, 1.5), self._level[rows])
        self._bounds[rows] = np.concatenate((self._bounds[rows, 1:], self._bounded(rows)[:, None]), axis=1)

    def _bounded(self, rows: IntArray) -> FloatArray:
        """The bound from now on: the lower of what follows from the last hour, and of what hours before came to.

        A level above 1 goes as far beyond the largest rise as that is beyond none.
        """
        recent = np.fmax(np.fmax.reduce(self._peaks[rows, self.settings.slots :], axis=1), self._open[rows])
        level = self._level[rows]
        beyond = np.maximum(level, 1.0)
        rise = np.maximum(_quantile(self._rises[rows], np.minimum(level, 1.0)), 0.0) * beyond
        came = _quantile(self._came[rows], np.minimum(level, 1.0)) * beyond
        known = (~np.isnan(self._came[rows])).sum(axis=1) >= self.settings.slots
        return np.where(known, np.minimum(recent * np.exp(rise), came), np.nan)


def _quantile(values: FloatArray, level: FloatArray) -> FloatArray:
    """By row, the value that this part of the known ones does not exceed; nan where none is known."""
    known = (~np.isnan(values)).sum(axis=1)
    at = np.clip(np.ceil(level * known).astype(np.int64) - 1, 0, values.shape[1] - 1)
    found: FloatArray = np.sort(values, axis=1)[np.arange(len(values)), at]  # nan last
    return found
