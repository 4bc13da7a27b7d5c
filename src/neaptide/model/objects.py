"""Kubernetes objects as Neaptide reads them: the fields that some policy, filter or score uses, and no others.

The structs have the API's own shape and spelling (camelCase on the wire), so that one decoder reads `kubectl get -o
json`, watch events and manifests alike; unknown fields are skipped. Quantities stay text until the snapshot interns them.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class ApiStruct(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """Common settings: camelCase names, immutable, not tracked by the garbage collector (they hold no cycles)."""


MIRROR = "kubernetes.io/config.mirror"
"""The annotation of a mirror pod: the API's picture of a static pod, which only its kubelet starts and stops."""


class OwnerReference(ApiStruct, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    controller: bool | None = None


class Metadata(ApiStruct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: Int64 = 0
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


# -- selectors ---------------------------------------------------------------------------------------------------------


class Requirement(ApiStruct, frozen=True):
    """One expression of a label or node selector; `operator` is one of the six node selector operators."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(ApiStruct, frozen=True):
    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()


class NodeSelectorTerm(ApiStruct, frozen=True):
    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()


class NodeSelector(ApiStruct, frozen=True):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class PreferredNodeTerm(ApiStruct, frozen=True):
    weight: Int32 = 1
    preference: NodeSelectorTerm = NodeSelectorTerm()


class NodeAffinity(ApiStruct, frozen=True):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredNodeTerm, ...] = ()


class PodAffinityTerm(ApiStruct, frozen=True):
    topology_key: str = ""
    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()


class WeightedPodAffinityTerm(ApiStruct, frozen=True):
    weight: Int32 = 1
    pod_affinity_term: PodAffinityTerm = PodAffinityTerm()


class PodAffinity(ApiStruct, frozen=True):
    """Serves podAffinity and podAntiAffinity alike."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()


class Affinity(ApiStruct, frozen=True):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Taint(ApiStruct, frozen=True):
    key: str = ""
    value: str = ""
    effect: str = ""


class Toleration(ApiStruct, frozen=True):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: Int64 | None = None


class TopologySpreadConstraint(ApiStruct, frozen=True):
    max_skew: Int32 = 1
    topology_key: str = ""
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: LabelSelector | None = None
    min_domains: Int32 | None = None
    node_affinity_policy: str = "Honor"
    node_taints_policy: str = "Ignore"
    match_label_keys: tuple[str, ...] = ()


# -- pods --------------------------------------------------------------------------------------------------------------


class Resources(ApiStruct, frozen=True):
    requests: dict[str, str] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)


class ContainerPort(ApiStruct, frozen=True):
    host_port: Int32 = 0
    container_port: Int32 = 0
    protocol: str = "TCP"
    host_ip: str = field(name="hostIP", default="")


class SecurityContext(ApiStruct, frozen=True):
    privileged: bool | None = None


class Container(ApiStruct, frozen=True):
    name: str = ""
    image: str = ""
    restart_policy: str = ""
    resources: Resources = Resources()
    ports: tuple[ContainerPort, ...] = ()
    security_context: SecurityContext | None = None


class ClaimSource(ApiStruct, frozen=True):
    claim_name: str = ""
    read_only: bool = False


class CSISource(ApiStruct, frozen=True):
    driver: str = ""
    volume_handle: str = ""


class EphemeralSource(ApiStruct, frozen=True):
    """A generic ephemeral volume; its claim is named `<pod>-<volume>`."""


class HostPathSource(ApiStruct, frozen=True):
    path: str = ""


class EmptyDirSource(ApiStruct, frozen=True):
    medium: str = ""


class ImageSource(ApiStruct, frozen=True):
    reference: str = ""


class Volume(ApiStruct, frozen=True):
    """The volume sources that matter for where a pod can go, and for whether it can be moved."""

    name: str = ""
    persistent_volume_claim: ClaimSource | None = None
    ephemeral: EphemeralSource | None = None
    csi: CSISource | None = None
    image: ImageSource | None = None
    host_path: HostPathSource | None = None
    empty_dir: EmptyDirSource | None = None


class SchedulingGate(ApiStruct, frozen=True):
    name: str = ""


class ResourceClaim(ApiStruct, frozen=True):
    name: str = ""


class PodSpec(ApiStruct, frozen=True):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    overhead: dict[str, str] = field(default_factory=dict)
    resources: Resources | None = None
    node_name: str = ""
    scheduler_name: str = ""
    priority: Int32 | None = None
    priority_class_name: str = ""
    preemption_policy: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()
    host_network: bool = False
    host_pid: bool = field(name="hostPID", default=False)
    host_ipc: bool = field(name="hostIPC", default=False)
    termination_grace_period_seconds: Int64 | None = None
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    resource_claims: tuple[ResourceClaim, ...] = ()


class Condition(ApiStruct, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""


class ContainerStatus(ApiStruct, frozen=True):
    """What in-place resize has allocated and what runs: the scheduler counts the largest of them and the spec."""

    name: str = ""
    allocated_resources: dict[str, str] = field(default_factory=dict)
    resources: Resources | None = None


class PodStatus(ApiStruct, frozen=True):
    phase: str = "Pending"
    start_time: str | None = None
    nominated_node_name: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    allocated_resources: dict[str, str] = field(default_factory=dict)
    resources: Resources | None = None


class Pod(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


# -- nodes -------------------------------------------------------------------------------------------------------------


class ContainerImage(ApiStruct, frozen=True):
    names: tuple[str, ...] = ()
    size_bytes: Int64 = 0


class NodeSpec(ApiStruct, frozen=True):
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    provider_id: str = field(name="providerID", default="")


class NodeCondition(ApiStruct, frozen=True):
    type: str = ""
    status: str = ""
    last_heartbeat_time: str | None = None


class NodeStatus(ApiStruct, frozen=True):
    allocatable: dict[str, str] = field(default_factory=dict)
    capacity: dict[str, str] = field(default_factory=dict)
    conditions: tuple[NodeCondition, ...] = ()
    images: tuple[ContainerImage, ...] = ()


class Node(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


# -- workloads ---------------------------------------------------------------------------------------------------------


class TemplateSpec(ApiStruct, frozen=True):
    """What a workload's pods will be, as far as it is asked while there are none."""

    priority: Int32 | None = None
    priority_class_name: str = ""


class PodTemplate(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: TemplateSpec = TemplateSpec()


class WorkloadSpec(ApiStruct, frozen=True):
    """The fields that the kinds of workload share; a field that a kind lacks keeps its default."""

    replicas: Int32 | None = None
    selector: LabelSelector | None = None
    suspend: bool | None = None
    managed_by: str | None = None
    parallelism: Int32 | None = None
    completions: Int32 | None = None
    schedule: str = ""
    time_zone: str | None = None
    min_ready_seconds: Int32 = 0
    active_deadline_seconds: Int64 | None = None
    template: PodTemplate | None = None


class WorkloadStatus(ApiStruct, frozen=True):
    replicas: Int32 = 0
    ready_replicas: Int32 = 0
    active: Int32 | tuple[dict[str, str], ...] = 0
    ready: Int32 | None = None
    succeeded: Int32 = 0
    failed: Int32 = 0
    conditions: tuple[Condition, ...] = ()
    start_time: str | None = None
    completion_time: str | None = None


class Workload(ApiStruct, frozen=True):
    """A Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob, ReplicationController or CloneSet."""

    kind: str = ""
    metadata: Metadata = Metadata()
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


# -- what the scheduler reads besides ----------------------------------------------------------------------------------


class Namespace(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()


class DisruptionBudgetSpec(ApiStruct, frozen=True):
    min_available: Int32 | str | None = None
    max_unavailable: Int32 | str | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str = "IfHealthyBudget"


class DisruptionBudgetStatus(ApiStruct, frozen=True):
    disruptions_allowed: Int32 = 0
    current_healthy: Int32 = 0
    desired_healthy: Int32 = 0
    expected_pods: Int32 = 0
    observed_generation: Int64 = 0


class PodDisruptionBudget(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: DisruptionBudgetSpec = DisruptionBudgetSpec()
    status: DisruptionBudgetStatus = DisruptionBudgetStatus()


class ScaleTarget(ApiStruct, frozen=True):
    kind: str = ""
    name: str = ""


class AutoscalerSpec(ApiStruct, frozen=True):
    scale_target_ref: ScaleTarget = ScaleTarget()


class HorizontalPodAutoscaler(ApiStruct, frozen=True):
    """Whoever else sets the replicas of a workload."""

    metadata: Metadata = Metadata()
    spec: AutoscalerSpec = AutoscalerSpec()


class PriorityClass(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    value: Int32 = 0
    global_default: bool = False
    preemption_policy: str = "PreemptLowerPriority"


class ServiceSpec(ApiStruct, frozen=True):
    selector: dict[str, str] = field(default_factory=dict)


class Service(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: ServiceSpec = ServiceSpec()


# -- what metrics.k8s.io measures --------------------------------------------------------------------------------------


class ContainerMetrics(ApiStruct, frozen=True):
    name: str = ""
    usage: dict[str, str] = field(default_factory=dict)


class PodMetrics(ApiStruct, frozen=True):
    """A pod's usage, of the pod of the same name; `timestamp` ends the window it was measured over."""

    metadata: Metadata = Metadata()
    timestamp: str | None = None
    containers: tuple[ContainerMetrics, ...] = ()


class NodeMetrics(ApiStruct, frozen=True):
    """A node's usage, of the node of the same name; `timestamp` ends the window it was measured over."""

    metadata: Metadata = Metadata()
    timestamp: str | None = None
    usage: dict[str, str] = field(default_factory=dict)
