"""The scheduler's profile: which filters, scores and plugins place its pods, and how its queue behaves."""

from msgspec import Struct

from neaptide.placement.cycle.order import Fairness
from neaptide.placement.cycle.queue import Backoff
from neaptide.placement.cycle.registry import DEFAULT_PLUGINS, AnyPlugin
from neaptide.placement.filters.hybrid_unschedulable import HybridUnschedulable
from neaptide.placement.filters.load_aware import LoadAware as LoadAwareFilter
from neaptide.placement.filters.node_info_rt import NodeInfoRt as NodeInfoRtFilter
from neaptide.placement.filters.node_resources_fit import NodeResourcesFit
from neaptide.placement.filters.registry import DEFAULT_FILTERS, AnyFilter
from neaptide.placement.filters.taint_toleration import TaintToleration
from neaptide.placement.profile import Profile, read_as
from neaptide.placement.scores.load_aware import LoadAware
from neaptide.placement.scores.node_balance import NodeBalance
from neaptide.placement.scores.node_info_rt import NodeInfoRt
from neaptide.placement.scores.real_nodes_first import RealNodesFirst
from neaptide.placement.scores.registry import DEFAULT_SCORES, AnyScore

SHARED_DEVICES = ("koordinator.sh/gpu-core", "koordinator.sh/gpu-memory-ratio")
"""Resources that the plugin DeviceShare counts device by device, in NodeResourcesFit's place."""
_BY_USAGE = (LoadAwareFilter, LoadAware, NodeBalance, HybridUnschedulable, NodeInfoRtFilter, NodeInfoRt)
_OTHERWISE: dict[type[AnyFilter], AnyFilter] = {
    NodeResourcesFit: NodeResourcesFit(ignored_resources=SHARED_DEVICES),
    TaintToleration: TaintToleration(virtual_nodes=True),
}
CYCLE_FILTERS: tuple[AnyFilter, ...] = tuple(_OTHERWISE.get(type(each), each) for each in DEFAULT_FILTERS)
CYCLE_SCORES: tuple[AnyScore, ...] = (*DEFAULT_SCORES, RealNodesFirst())


class Preemption(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """kube-scheduler's DefaultPreemption: how many of the nodes that might do are weighed against each other."""

    enabled: bool = True
    min_candidate_nodes_percentage: int = 10
    min_candidate_nodes_absolute: int = 100


class CycleProfile(Profile, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A placement profile (filters and scores) and what the cycle adds to it."""

    filters: tuple[AnyFilter, ...] = CYCLE_FILTERS
    scores: tuple[AnyScore, ...] = CYCLE_SCORES
    plugins: tuple[AnyPlugin, ...] = DEFAULT_PLUGINS
    scheduler_name: str = "neaptide"
    backoff: Backoff = Backoff()
    fairness: Fairness = Fairness()
    preemption: Preemption = Preemption()

    @property
    def asks_for_usage(self) -> bool:
        """Whether anything that decides reads what is measured of nodes or pods."""
        return any(isinstance(each, _BY_USAGE) for each in (*self.filters, *self.scores))


def read_cycle_profile(text: str) -> CycleProfile:
    """A profile from YAML; what is left out is the default. Raises FieldError."""
    return read_as(CycleProfile, text)
