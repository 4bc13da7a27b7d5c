"""Every kind of object that is read."""

from neaptide.model.colocation_profile import ClusterColocationProfile
from neaptide.model.node_metric import NodeMetric
from neaptide.model.node_pools import NodePool
from neaptide.model.objects import (
    HorizontalPodAutoscaler,
    Namespace,
    Node,
    NodeMetrics,
    Pod,
    PodDisruptionBudget,
    PodMetrics,
    PriorityClass,
    Service,
    Workload,
)
from neaptide.model.scheduling_objects import ElasticQuota, PodGroup, Reservation
from neaptide.model.storage_objects import CSINode, PersistentVolume, PersistentVolumeClaim, StorageClass

AnyObject = (
    Pod
    | Node
    | Workload
    | Namespace
    | PodDisruptionBudget
    | HorizontalPodAutoscaler
    | PriorityClass
    | PersistentVolumeClaim
    | PersistentVolume
    | StorageClass
    | CSINode
    | Service
    | NodePool
    | PodMetrics
    | NodeMetrics
    | NodeMetric
    | ClusterColocationProfile
    | PodGroup
    | ElasticQuota
    | Reservation
)
