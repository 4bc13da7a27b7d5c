"""Decaying histograms of many series at once: a matrix of weights, one row a series, one column a bucket.

A sample weighs 2^((its time - reference) / half-life), so that older ones count less and nothing needs to be aged by
hand; percentiles do not change when the reference moves. Source: kubernetes/autoscaler vertical-pod-autoscaler and
koordinator pkg/util/histogram, which keep one histogram an object; here one reference serves all rows.
"""

from math import ceil, floor, log
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from neaptide.model.problems import FieldError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_EXPONENT = 100
_AT, _WEIGHT = np.dtype("<u4"), np.dtype("<f8")


class Buckets(NamedTuple):
    """Where buckets start, ascending from 0; the last has no end. A bucket that weighs less than `epsilon` is empty."""

    starts: FloatArray
    epsilon: float


class HistogramCheckpoint(Struct, frozen=True, gc=False):
    """Histograms as text or bytes: only what is not empty, little-endian, restored to the last bit.

    Attributes:
        series, buckets: the matrix's shape.
        half_life: seconds.
        reference: seconds since the epoch, None before the first sample.
        at: flat positions (row * buckets + bucket) as 32-bit unsigned integers, ascending.
        weights: their weights as 64-bit floats.
    """

    series: int
    buckets: int
    half_life: float
    reference: float | None
    at: bytes
    weights: bytes


def exponential_buckets(*, maximum: float, first: float, ratio: float, epsilon: float) -> Buckets:
    """Buckets of which each is `ratio` times as wide as the one before, up to the one that holds `maximum`."""
    count = ceil(log(maximum * (ratio - 1) / first + 1, ratio)) + 1
    starts: FloatArray = first * (ratio ** np.arange(count, dtype=np.float64) - 1) / (ratio - 1)
    return Buckets(starts, epsilon)


class DecayingHistograms:
    """Histograms with one set of buckets, one half-life (seconds) and one reference time.

    A series that gets no sample for more than `MAX_EXPONENT` half-lives is empty again once the reference moves on.
    """

    def __init__(self, buckets: Buckets, half_life: float, *, series: int = 0) -> None:
        self.buckets = buckets
        self.half_life = half_life
        self.reference: float | None = None
        self.weights: FloatArray = np.zeros((series, len(buckets.starts)))

    def grow(self, series: int) -> None:
        """Append empty rows until there are `series` of them."""
        missing = series - len(self.weights)
        if missing > 0:
            self.weights = np.vstack((self.weights, np.zeros((missing, self.weights.shape[1]))))

    def keep(self, rows: IntArray) -> None:
        """Drop all rows but these, which are renumbered in this order."""
        self.weights = self.weights[rows]

    def add(self, rows: IntArray, values: FloatArray, now: float, *, weight: FloatArray | float = 1.0) -> None:
        """Add a sample for each of `rows` (repeats allowed) at `now`; a value that is nan is unknown and is left out."""
        known = ~np.isnan(values)
        column = np.searchsorted(self.buckets.starts, values[known], side="right") - 1
        amount = np.broadcast_to(weight, values.shape)[known] * self._decay(now)
        np.add.at(self.weights, (rows[known], np.maximum(column, 0)), amount)

    def percentile(self, fraction: float) -> FloatArray:
        """The END of the bucket that holds this fraction of each row's weight [series]; nan where a row is empty.

        The last bucket has no end: its start stands for it.
        """
        used = np.flatnonzero(self.weights.any(axis=0))
        if not len(used):
            return np.full(len(self.weights), np.nan)
        first, end = int(used[0]), int(used[-1]) + 1  # few buckets of many: a cluster's pods resemble each other
        weights = self.weights[:, first:end]
        held = weights >= self.buckets.epsilon
        total = np.cumsum(weights, axis=1)
        reached = np.argmax(total >= fraction * total[:, -1:], axis=1)
        highest = end - first - 1 - np.argmax(held[:, ::-1], axis=1)
        at = first + np.clip(reached, np.argmax(held, axis=1), highest)
        last = self.weights.shape[1] - 1
        return np.where(held.any(axis=1), self.buckets.starts[np.minimum(at + 1, last)], np.nan)

    def checkpoint(self) -> HistogramCheckpoint:
        flat = self.weights.ravel()
        at = np.flatnonzero(flat != 0)
        series, buckets = self.weights.shape
        positions, weights = at.astype(_AT).tobytes(), flat[at].astype(_WEIGHT).tobytes()
        return HistogramCheckpoint(series, buckets, self.half_life, self.reference, positions, weights)

    def _decay(self, now: float) -> float:
        if self.reference is None:
            self.reference = self._multiple(now)
        elif now - self.reference > MAX_EXPONENT * self.half_life:
            moved = self._multiple(now)
            # A whole number of half-lives: scaling by a power of two loses no bit.
            self.weights = np.ldexp(self.weights, -round((moved - self.reference) / self.half_life))
            self.weights[self.weights < self.buckets.epsilon] = 0.0
            self.reference = moved
        return float(2.0 ** ((now - self.reference) / self.half_life))

    def _multiple(self, now: float) -> float:
        return floor(now / self.half_life + 0.5) * self.half_life


def restore(checkpoint: HistogramCheckpoint, buckets: Buckets, half_life: float) -> DecayingHistograms:
    """Histograms from a checkpoint.

    Raises:
        FieldError: it was made with other buckets or another half-life, or its arrays do not fit together.
    """
    for field, found, wanted in (
        ("buckets", checkpoint.buckets, len(buckets.starts)),
        ("half_life", checkpoint.half_life, half_life),
        ("weights", len(checkpoint.weights) * _AT.itemsize, len(checkpoint.at) * _WEIGHT.itemsize),
        ("at", len(checkpoint.at) % _AT.itemsize, 0),
    ):
        if found != wanted:
            raise FieldError(field, found, str(wanted))
    histograms = DecayingHistograms(buckets, half_life, series=checkpoint.series)
    at = np.frombuffer(checkpoint.at, _AT)
    if len(at) and at.max() >= histograms.weights.size:
        raise FieldError("at", at.max(), f"positions below {histograms.weights.size}")
    histograms.reference = checkpoint.reference
    histograms.weights.reshape(-1)[at] = np.frombuffer(checkpoint.weights, _WEIGHT)
    return histograms
