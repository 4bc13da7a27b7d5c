"""A quantity over time: samples, the step between them, and the gaps where there are none."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DAY = 86_400.0
WEEK = 7 * DAY


class Gap(NamedTuple):
    """Samples that are missing between two that are there."""

    start: float  # the last sample before, seconds since the epoch
    end: float  # the first one after
    missing: int


class Series(NamedTuple):
    """Samples in order of time.

    Attributes:
        name: what was measured, as the data set calls it.
        times: float64 [n], seconds since the epoch, strictly increasing.
        values: float64 [n], in the unit of the data set.
        step: seconds between samples; NaN where they are irregular (events), and then no gap can be told.
        gaps: where more than one and a half steps passed between two samples.
    """

    name: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    step: float
    gaps: tuple[Gap, ...]

    def at(self, times: ArrayLike) -> NDArray[np.float64]:
        """Values at any times, between two samples on the line through them; NaN before, after and within gaps."""
        when = np.asarray(times, np.float64)
        if not len(self.times):
            return np.full(when.shape, np.nan)
        values = np.array(np.interp(when, self.times, self.values, left=np.nan, right=np.nan))
        if self.gaps:
            gap = np.searchsorted([gap.start for gap in self.gaps], when, side="left") - 1
            values[(gap >= 0) & (when < np.array([gap.end for gap in self.gaps])[gap])] = np.nan
        return values

    def repeated(self, times: ArrayLike, *, unit: float = DAY) -> NDArray[np.float64]:
        """Values at any times, the longest whole number of `unit` seconds of the series repeated for ever, both ways.

        The time of day (or of week) stays what it is, so that a daily curve goes on as one. Gaps stay NaN.

        Raises:
            ValueError: the series is shorter than `unit`, or irregular.
        """
        if not len(self.times) or np.isnan(self.step):
            raise ValueError(f"{self.name}: only samples at a regular step can be repeated; it has {len(self.times)}")
        start = self.times[0]
        units = np.floor((self.times[-1] + self.step - start) / unit)
        if units < 1:
            raise ValueError(
                f"{self.name}: lasts {self.times[-1] + self.step - start:.0f} s; accepted: {unit:.0f} s or more"
            )
        period = units * unit
        first_again = Series(
            self.name,
            np.append(self.times[self.times < start + period], start + period),
            np.append(self.values[self.times < start + period], self.values[0]),
            self.step,
            self.gaps,
        )
        return first_again.at(start + np.mod(np.asarray(times, np.float64) - start, period))


def make_series(name: str, times: ArrayLike, values: ArrayLike) -> tuple[Series, list[int]]:
    """A series of samples in any order, and the positions of those left out because an earlier one has the same time."""
    when = np.asarray(times, np.float64)
    what = np.asarray(values, np.float64)
    order = np.argsort(when, kind="stable")
    again = np.zeros(len(order), bool)
    again[1:] = np.diff(when[order]) == 0
    kept = order[~again]
    when, what = when[kept], what[kept]
    step = _regular_step(when)
    return Series(name, when, what, step, _gaps(when, step)), sorted(order[again].tolist())


def _regular_step(times: NDArray[np.float64]) -> float:
    """The median difference, if at least half of all differences lie within a tenth of it."""
    if len(times) < 2:
        return float("nan")
    differences = np.diff(times)
    step = float(np.median(differences))
    return step if np.mean(np.abs(differences - step) <= step / 10) >= 0.5 else float("nan")


def _gaps(times: NDArray[np.float64], step: float) -> tuple[Gap, ...]:
    differences = np.diff(times)
    return tuple(
        Gap(float(times[at]), float(times[at + 1]), round(float(differences[at]) / step) - 1)
        for at in np.flatnonzero(differences > 1.5 * step)
    )
