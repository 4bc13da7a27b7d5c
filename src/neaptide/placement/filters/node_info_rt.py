"""Nodes that are overloaded right now take no pods, by what is measured beside CPU and memory."""

from msgspec import field

from neaptide.model.columns import Bools
from neaptide.placement.filters.filter import Filter
from neaptide.placement.real_time import ACCEPTED, column, is_known
from neaptide.placement.view import Pod, View

STALE = "node(s) had no fresh real-time data"
DEFAULT_THRESHOLDS = {
    "load.5m": 1.8,
    "pressure.cpu": 0.5,
    "pressure.memory": 0.1,
    "pressure.io": 0.5,
    "network": 0.9,
    "disk": 0.9,
}


class NodeInfoRt(Filter, frozen=True, tag="NodeInfoRt"):
    """A node is refused where any measured value is above its threshold.

    What is not known, or older than `expiration_seconds`, refuses nothing, unless `refuse_stale`: then a node needs fresh data.
    """

    thresholds: dict[str, float] = field(default_factory=DEFAULT_THRESHOLDS.copy)
    expiration_seconds: float = 180.0
    refuse_stale: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a threshold that is of nothing known."""
        for name in self.thresholds:
            if not is_known(name):
                raise ValueError(f"thresholds must be of {ACCEPTED}, not of {name}")

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        del pod
        fresh = view.infos.fresh(view.now, self.expiration_seconds)
        found = {
            f"node(s) had too much {name.replace('.', ' ')}": fresh & (column(view, name) > threshold)
            for name, threshold in self.thresholds.items()
        }
        return found | ({STALE: ~fresh} if self.refuse_stale else {})
