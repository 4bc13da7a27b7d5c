"""Karpenter's NodePool, as far as it says what may be disrupted. Source: karpenter.sh/v1."""

from msgspec import field

from neaptide.model.objects import ApiStruct, Int32, Metadata


class NodePoolBudget(ApiStruct, frozen=True):
    """How many nodes of a pool may be disrupted at once, and when that holds."""

    nodes: str = "10%"
    reasons: tuple[str, ...] = ()
    schedule: str = ""
    duration: str = ""


class NodePoolDisruption(ApiStruct, frozen=True):
    budgets: tuple[NodePoolBudget, ...] = (NodePoolBudget(),)
    consolidation_policy: str = "WhenEmptyOrUnderutilized"
    consolidate_after: str = "0s"


class NodePoolSpec(ApiStruct, frozen=True):
    limits: dict[str, str] = field(default_factory=dict)
    weight: Int32 = 1
    disruption: NodePoolDisruption = NodePoolDisruption()


class NodePool(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: NodePoolSpec = NodePoolSpec()
