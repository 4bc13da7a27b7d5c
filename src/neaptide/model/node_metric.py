"""What a node and its pods use, as Koordinator's agent and ours write it: NodeMetric (`slo.koordinator.sh/v1alpha1`).

Names are Koordinator's (apis/slo/v1alpha1/nodemetric_types.go). What ours adds stands in `extensions` of a pod, under names of its own.
"""

from typing import Any

from msgspec import Struct, field

from neaptide.model.objects import ApiStruct, Metadata
from neaptide.model.problems import FieldError
from neaptide.model.times import seconds

OBJECTIVE = "neaptide.io/slo"
"""The extension of a pod's metric that holds the latency it exports, what it shall be, and what offline work keeps for it."""
FINDINGS = "neaptide.io/interference"
"""The extension of a victim's metric that holds who disturbs it, and what was done."""
SIGNALS = "neaptide.io/signals"
"""The extension of a service's metric that holds what it waits for, for its twins on other nodes."""


class Amounts(ApiStruct, frozen=True):
    """Quantities by resource, as `{"resources": {"cpu": "1500m"}}`."""

    resources: dict[str, str] = field(default_factory=dict)


class Aggregated(ApiStruct, frozen=True):
    """Use over a time (`5m0s`), by aggregation (`avg`, `p50`, `p95`)."""

    usage: dict[str, Amounts] = field(default_factory=dict)
    duration: str = ""


class NodeMetricInfo(ApiStruct, frozen=True):
    """A node's use; `node_usage` has its real-time data among its resources (`neaptide.model.real_time`)."""

    node_usage: Amounts = Amounts()
    system_usage: Amounts = Amounts()
    aggregated_node_usages: tuple[Aggregated, ...] = ()


class PodMetricInfo(ApiStruct, frozen=True):
    """One pod's use; `extensions` are whoever's."""

    name: str = ""
    namespace: str = ""
    pod_usage: Amounts = Amounts()
    extensions: dict[str, Any] = field(default_factory=dict)


class NodeMetricStatus(ApiStruct, frozen=True):
    update_time: str | None = None
    node_metric: NodeMetricInfo | None = None
    pods_metric: tuple[PodMetricInfo, ...] = ()


class Objective(Struct, frozen=True):
    """The extension `OBJECTIVE`: a service's latency at a quantile, and what it shall be, in seconds."""

    seconds: float
    objective: float
    quantile: float

    def __str__(self) -> str:
        return (
            f"p{self.quantile * 100:g} is {self.seconds * 1000:.3g} ms where {self.objective * 1000:.3g} ms are wanted"
        )


class Signals(Struct, frozen=True):
    """The extension `SIGNALS`: by signal (`cpu`, `memory`, `io`: percent of the time; `latency`: ms) what it was lately."""

    lately: dict[str, float] = field(default_factory=dict)


class NodeMetric(ApiStruct, frozen=True):
    """The object; it has the name of its node."""

    metadata: Metadata = Metadata()
    status: NodeMetricStatus = NodeMetricStatus()

    def is_recent(self, age: float, now: float) -> bool:
        """Whether it was written within `age` seconds of `now` (seconds since the epoch); one from the future, or of an unknown time, is not."""
        try:
            return abs(now - seconds(self.status.update_time)) <= age
        except FieldError:
            return False
