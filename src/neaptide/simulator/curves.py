"""Usage over time as a fraction of the request: constant, a daily wave, points, or a real series."""

from collections.abc import Callable
from functools import cached_property
from math import tau
from typing import Annotated, Protocol

import numpy as np
from msgspec import Meta, Struct

from neaptide.model.columns import Floats
from neaptide.model.problems import FieldError
from neaptide.simulator.traces.packaged import cpu_series
from neaptide.simulator.traces.series import DAY, Series

BLOCK = 64
Level = Annotated[float, Meta(ge=0, le=1e6)]
Moment = Annotated[float, Meta(ge=-1e10, le=1e10)]


class Curve(Protocol):
    """Anything that says how much of its request a pod wants at any times."""

    def usage(self, times: Floats, /) -> Floats:
        """float64[times]: fractions of the request, not below 0; `times` are seconds since the epoch."""


class Constant(Struct, frozen=True, tag_field="kind", tag="constant", forbid_unknown_fields=True):
    """The same at any time."""

    level: Level = 1.0

    def usage(self, times: Floats) -> Floats:
        return np.full(len(times), self.level)


class Daily(Struct, frozen=True, tag_field="kind", tag="daily", forbid_unknown_fields=True):
    """A cosine from `low` to `high` that is highest at `peak_hour` (UTC)."""

    low: Level
    high: Level
    peak_hour: Annotated[float, Meta(ge=0, le=24)] = 14.0

    def usage(self, times: Floats) -> Floats:
        phase = (times / DAY - self.peak_hour / 24) * tau
        wave: Floats = self.low + (self.high - self.low) * (1 + np.cos(phase)) / 2
        return wave


class Points(Struct, frozen=True, tag_field="kind", tag="points", forbid_unknown_fields=True):
    """Straight lines between (seconds, fraction), repeated every `period` seconds from the epoch on."""

    points: Annotated[tuple[tuple[Moment, Level], ...], Meta(min_length=1)]
    period: Annotated[float, Meta(ge=1, le=1e9)] = DAY

    def usage(self, times: Floats) -> Floats:
        at, level = np.array(sorted(self.points), dtype=np.float64).T
        line: Floats = np.interp(np.mod(times, self.period), at, level, period=self.period)
        return line


class Real(Struct, frozen=True, tag_field="kind", tag="series", forbid_unknown_fields=True):
    """A series that the package ships, by its name, repeated; its highest sample is `peak`. `shift` moves it, in seconds."""

    name: str
    peak: Level = 1.0
    shift: Moment = 0.0
    unit: Annotated[float, Meta(ge=60, le=1e9)] = DAY

    def usage(self, times: Floats) -> Floats:
        series = cpu_series().get(self.name)
        if series is None:
            raise FieldError("curve.name", self.name, "one of " + ", ".join(sorted(cpu_series())))
        return FromSeries(series, peak=self.peak, shift=self.shift, unit=self.unit).usage(times)


AnyCurve = Constant | Daily | Points | Real


class FromSeries:
    """A curve from measured samples: repeated in whole `unit`s, its highest sample at `peak`; gaps are bridged."""

    def __init__(self, series: Series, *, peak: float = 1.0, shift: float = 0.0, unit: float = DAY) -> None:
        self._series, self._peak, self._shift, self._unit = series, peak, shift, unit

    @cached_property
    def _scale(self) -> float:
        return self._peak / max(float(np.nanmax(self._series.values)), 1e-12)

    def usage(self, times: Floats) -> Floats:
        values = self._series.repeated(times + self._shift, unit=self._unit)
        known = ~np.isnan(values)
        if not known.all():
            values = np.interp(times, times[known], values[known]) if known.any() else np.zeros(len(times))
        return np.maximum(values * self._scale, 0.0)


class CurveTable:
    """All curves of a run, evaluated together for a block of ticks at a time."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._rows: dict[object, int] = {}
        self._usages: list[Callable[[Floats], Floats]] = []
        self._block = np.empty((0, 0))
        self._start = np.nan

    def add(self, curve: Curve) -> int:
        """The number of a curve; equal curves share one."""
        row = self._rows.get(curve)
        if row is None:
            row = self._rows[curve] = len(self._usages)
            self._usages.append(curve.usage)
        return row

    def at(self, time: float) -> Floats:
        """float64[curves]: all curves at a time."""
        column = (time - self._start) / self._step
        inside = 0 <= column < BLOCK and column == int(column)
        if not inside or len(self._block) != len(self._usages):
            self._start, column = time, 0
            times = time + self._step * np.arange(BLOCK, dtype=np.float64)
            self._block = np.array([usage(times) for usage in self._usages]).reshape(len(self._usages), BLOCK)
        values: Floats = self._block[:, int(column)]
        return values
