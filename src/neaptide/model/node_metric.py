"""What a node and its pods use, as Koordinator's agent and ours write it: NodeMetric (`slo.koordinator.sh/v1alpha1`).

Names are Koordinator's (apis/slo/v1alpha1/nodemetric_types.go). What ours adds stands in `extensions` of a pod, under names of its own.
"""

from typing import Any

from msgspec import field

from neaptide.model.objects import ApiStruct, Metadata

SIGNALS = "neaptide.io/signals"
"""The extension of a pod's metric that holds its signals of interference."""
FINDINGS = "neaptide.io/interference"
"""The extension of a victim's metric that holds who disturbs it, and what was done."""


class Amounts(ApiStruct, frozen=True):
    """Quantities by resource, as `{"resources": {"cpu": "1500m"}}`."""

    resources: dict[str, str] = field(default_factory=dict)


class NodeMetricInfo(ApiStruct, frozen=True):
    node_usage: Amounts = Amounts()
    system_usage: Amounts = Amounts()


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


class NodeMetric(ApiStruct, frozen=True):
    """The object; it has the name of its node."""

    metadata: Metadata = Metadata()
    status: NodeMetricStatus = NodeMetricStatus()
