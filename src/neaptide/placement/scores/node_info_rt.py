"""Prefer nodes that are little loaded right now, by what is measured beside CPU and memory."""

import numpy as np
from msgspec import field

from neaptide.model.columns import Longs
from neaptide.placement.real_time import ACCEPTED, column, is_known
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View

DEFAULT_WEIGHTS = {"load.1m": 1.0, "load.5m": 1.0, "pressure.cpu": 2.0, "pressure.memory": 2.0, "pressure.io": 1.0}


class NodeInfoRt(Score, frozen=True, tag="NodeInfoRt"):
    """100 * (1 - the weighted mean of the measured values, each at most 1), over the values that are known.

    A node of which nothing is known, or nothing since `expiration_seconds`, gets `unknown_score`.
    """

    weights: dict[str, float] = field(default_factory=DEFAULT_WEIGHTS.copy)
    expiration_seconds: float = 180.0
    unknown_score: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a weight that is not positive, or of nothing known."""
        super().__post_init__()
        for name, weight in self.weights.items():
            if not is_known(name) or not weight > 0:
                raise ValueError(f"weights must be above 0 and of {ACCEPTED}, not {weight} of {name}")
        if not 0 <= self.unknown_score <= LARGEST:
            raise ValueError(f"unknownScore must be in 0..{LARGEST}")

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs:
        del pod
        total, weights = np.zeros(len(rows)), np.zeros(len(rows))
        for name, weight in self.weights.items():
            value = column(view, name)[rows]
            known = ~np.isnan(value)
            total += weight * np.where(known, np.clip(value, 0, 1), 0)
            weights += weight * known
        mean = total / np.where(weights > 0, weights, 1)
        known = (weights > 0) & view.infos.fresh(view.now, self.expiration_seconds)[rows]
        return np.where(known, np.floor(LARGEST * (1 - mean)), self.unknown_score).astype(np.int64)
