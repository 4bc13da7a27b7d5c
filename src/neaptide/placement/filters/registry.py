"""The filters, in kube-scheduler's order. A new filter is its file and its line here."""

from neaptide.placement.filters.dynamic_resources import DynamicResources
from neaptide.placement.filters.hybrid_unschedulable import HybridUnschedulable
from neaptide.placement.filters.inter_pod_affinity import InterPodAffinity
from neaptide.placement.filters.load_aware import LoadAware
from neaptide.placement.filters.node_affinity import NodeAffinity
from neaptide.placement.filters.node_info_rt import NodeInfoRt
from neaptide.placement.filters.node_name import NodeName
from neaptide.placement.filters.node_ports import NodePorts
from neaptide.placement.filters.node_resources_fit import NodeResourcesFit
from neaptide.placement.filters.node_unschedulable import NodeUnschedulable
from neaptide.placement.filters.node_volume_limits import NodeVolumeLimits
from neaptide.placement.filters.pod_topology_spread import PodTopologySpread
from neaptide.placement.filters.scheduling_gates import SchedulingGates
from neaptide.placement.filters.taint_toleration import TaintToleration
from neaptide.placement.filters.volume_binding import VolumeBinding
from neaptide.placement.filters.volume_restrictions import VolumeRestrictions
from neaptide.placement.filters.volume_zone import VolumeZone

AnyFilter = (
    SchedulingGates
    | NodeUnschedulable
    | NodeName
    | TaintToleration
    | NodeAffinity
    | NodePorts
    | NodeResourcesFit
    | VolumeRestrictions
    | NodeVolumeLimits
    | VolumeBinding
    | VolumeZone
    | PodTopologySpread
    | InterPodAffinity
    | DynamicResources
    | HybridUnschedulable
    | LoadAware
    | NodeInfoRt
)

DEFAULT_FILTERS: tuple[AnyFilter, ...] = (
    SchedulingGates(),
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(),
    NodeAffinity(),
    NodePorts(),
    NodeResourcesFit(),
    VolumeRestrictions(),
    NodeVolumeLimits(),
    VolumeBinding(),
    VolumeZone(),
    PodTopologySpread(),
    InterPodAffinity(),
    DynamicResources(),
)
