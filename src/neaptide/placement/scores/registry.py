"""The scores. A new score is its file and its line here."""

from neaptide.placement.scores.balanced_allocation import NodeResourcesBalancedAllocation
from neaptide.placement.scores.cool_down_hot_node import CoolDownHotNode
from neaptide.placement.scores.image_locality import ImageLocality
from neaptide.placement.scores.inter_pod_affinity import InterPodAffinity
from neaptide.placement.scores.least_allocated import LeastAllocated
from neaptide.placement.scores.like_ends import LikeEnds
from neaptide.placement.scores.load_aware import LoadAware
from neaptide.placement.scores.most_allocated import MostAllocated
from neaptide.placement.scores.node_affinity import NodeAffinity
from neaptide.placement.scores.node_balance import NodeBalance
from neaptide.placement.scores.node_info_rt import NodeInfoRt
from neaptide.placement.scores.pod_topology_spread import PodTopologySpread
from neaptide.placement.scores.real_nodes_first import RealNodesFirst
from neaptide.placement.scores.requested_to_capacity_ratio import RequestedToCapacityRatio
from neaptide.placement.scores.taint_toleration import TaintToleration

AnyScore = (
    TaintToleration
    | NodeAffinity
    | LeastAllocated
    | MostAllocated
    | RequestedToCapacityRatio
    | PodTopologySpread
    | InterPodAffinity
    | NodeResourcesBalancedAllocation
    | ImageLocality
    | CoolDownHotNode
    | LikeEnds
    | LoadAware
    | NodeBalance
    | NodeInfoRt
    | RealNodesFirst
)

DEFAULT_SCORES: tuple[AnyScore, ...] = (
    TaintToleration(),
    NodeAffinity(),
    LeastAllocated(),
    PodTopologySpread(),
    InterPodAffinity(),
    NodeResourcesBalancedAllocation(),
    ImageLocality(),
)
