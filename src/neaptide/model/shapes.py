"""Pod shapes: everything of a pod that decides where it can go, apart from its namespace and labels.

Pods of one workload share a shape. A shape is interned by its encoded bytes (about 2 us), and only the first pod of a
shape pays for parsing quantities and checking operators.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.model import selectors
from neaptide.model.objects import (
    Affinity,
    ClaimSource,
    Container,
    NodeSelectorTerm,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    Requirement,
    Resources,
    Toleration,
    TopologySpreadConstraint,
    Volume,
)
from neaptide.model.problems import FieldError
from neaptide.model.quantity import LARGEST_AMOUNT
from neaptide.model.requests import (
    Amounts,
    Requests,
    effective_requests,
    kubernetes_qos,
    scoring_requests,
    total_limits,
)
from neaptide.model.virtual_names import MODE, VIRTUAL_ONLY


class Requirements(Struct, frozen=True, gc=False, array_like=True):
    """The parts of a pod's spec that placement reads, spelled as in the API."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...]
    node_selector: dict[str, str]
    affinity: Affinity | None
    tolerations: tuple[Toleration, ...]
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...]
    volumes: tuple[Volume, ...]
    overhead: dict[str, str]
    resources: Resources | None
    resource_claims: int
    resized: dict[str, Requests]
    wants_machine: bool
    """Whether it shares a host's network, processes or IPC, or is privileged: what only a machine has, beside host ports and hostPath volumes."""
    virtual_only: bool
    """Whether its annotation asks for virtual nodes and nothing else."""


class Shape(Struct, frozen=True, gc=False):
    """What follows from the requirements: amounts by resource (milli-CPU, bytes, counts), and Kubernetes' QoS class."""

    requirements: Requirements
    requests: Amounts
    limits: Amounts
    scoring: tuple[int, int]
    kubernetes_qos: str
    host_ports: tuple[tuple[str, str, int], ...]


_encode = msgspec.msgpack.Encoder().encode


def class_parts(pod: Pod) -> tuple[Any, ...]:
    """What is equal for two pods only if they belong to one class."""
    meta, spec = pod.metadata, pod.spec
    return (
        meta.namespace,
        meta.labels,
        spec.containers,
        spec.init_containers,
        spec.node_selector,
        spec.affinity,
        spec.tolerations,
        spec.topology_spread_constraints,
        _volumes(pod) if spec.volumes else (),
        spec.overhead,
        spec.resources,
        spec.resource_claims,
        pod.status.container_statuses,
        pod.status.init_container_statuses,
        pod.status.allocated_resources,
        pod.status.resources,
        _is_resize_infeasible(pod),
        _wants_machine(pod),
        _virtual_only(pod),
    )


def encoded(parts: tuple[Any, ...]) -> bytes:
    """Parts as bytes, by which they can be looked up."""
    return _encode(parts)


def requirements_of(pod: Pod) -> tuple[bytes, Requirements]:
    """A pod's requirements and the key that identifies them."""
    spec = pod.spec
    requirements = Requirements(
        spec.containers,
        spec.init_containers,
        spec.node_selector,
        spec.affinity,
        spec.tolerations,
        spec.topology_spread_constraints,
        _volumes(pod),
        spec.overhead,
        spec.resources,
        len(spec.resource_claims),
        _resized(pod),
        _wants_machine(pod),
        _virtual_only(pod),
    )
    return _encode(requirements), requirements


def shape_of(pod: Pod, requirements: Requirements) -> Shape:
    """Parse and check a pod's requirements. Raises FieldError for what no scheduler could count."""
    _check(requirements)
    requests = effective_requests(pod.spec, requirements.resized) | {"pods": 1}
    for resource, amount in requests.items():
        if amount > LARGEST_AMOUNT:
            raise FieldError(f"requests of {resource}, in sum", amount, f"at most {LARGEST_AMOUNT}")
    return Shape(
        requirements,
        requests,
        total_limits(pod.spec),
        scoring_requests(pod.spec, requirements.resized),
        kubernetes_qos(pod.spec),
        tuple(
            (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104 - the API's "any address"
            for container in (*_sidecars(pod), *pod.spec.containers)
            for port in container.ports
            if port.host_port
        ),
    )


def _wants_machine(pod: Pod) -> bool:
    spec = pod.spec
    if spec.host_network or spec.host_pid or spec.host_ipc:
        return True
    for each in spec.containers or ():  # asked of every pod that comes
        if each.security_context is not None and each.security_context.privileged:
            return True
    return any(each.security_context and each.security_context.privileged for each in spec.init_containers)


def _virtual_only(pod: Pod) -> bool:
    return pod.metadata.annotations.get(MODE) == VIRTUAL_ONLY


def _sidecars(pod: Pod) -> Iterable[Container]:
    """Init containers that keep running; the ports of the others are free again when the pod runs."""
    return (each for each in pod.spec.init_containers if each.restart_policy == "Always")


def _volumes(pod: Pod) -> tuple[Volume, ...]:
    """The volumes that matter; a generic ephemeral volume becomes the claim that the API makes for it."""
    kept = []
    for volume in pod.spec.volumes:
        if volume.ephemeral is not None:
            claim = ClaimSource(f"{pod.metadata.name}-{volume.name}")
            kept.append(Volume(name=volume.name, persistent_volume_claim=claim, ephemeral=volume.ephemeral))
        elif volume.persistent_volume_claim or volume.csi or volume.image or volume.host_path or volume.empty_dir:
            kept.append(volume)
    return tuple(kept)


def _resized(pod: Pod) -> dict[str, Requests]:
    """What counts, and where, instead of the spec's requests: an in-place resize is under way or has been refused."""
    spec, status = pod.spec, pod.status
    statuses = (*status.container_statuses, *status.init_container_statuses)
    infeasible = _is_resize_infeasible(pod)
    asked = {each.name: each.resources for each in (*spec.containers, *_sidecars(pod))}
    told = [(each.name, each.resources, each.allocated_resources) for each in statuses]
    if spec.resources is not None:
        asked[""] = spec.resources
        told.append(("", status.resources, status.allocated_resources))
    found: dict[str, Requests] = {}
    for name, running, allocated in told:
        if name in asked and running is not None:
            requests = asked[name].requests
            counted = (allocated, running.requests) if infeasible else (requests, allocated, running.requests)
            if requests not in counted or any(each not in ({}, requests) for each in counted):
                found[name] = counted
    return found


def _is_resize_infeasible(pod: Pod) -> bool:
    """Whether the node has refused a resize for good; what is asked then has no meaning."""
    for each in pod.status.conditions:  # asked of every pod that comes
        if each.type == "PodResizePending":
            return each.reason == "Infeasible"
    return False


def _check(requirements: Requirements) -> None:
    affinity = requirements.affinity
    if affinity is not None:
        if affinity.node_affinity is not None:
            for term in _node_terms(affinity):
                _check_expressions("nodeAffinity", term.match_expressions, selectors.NODE_OPERATORS)
                _check_expressions("nodeAffinity", term.match_fields, ("In", "NotIn"))
        for field, side in (("podAffinity", affinity.pod_affinity), ("podAntiAffinity", affinity.pod_anti_affinity)):
            for pod_term in _pod_terms(side):
                _check_pod_term(field, pod_term)
    for toleration in requirements.tolerations:
        _one_of("spec.tolerations.operator", toleration.operator, ("", "Equal", "Exists", "Lt", "Gt"))
        _one_of("spec.tolerations.effect", toleration.effect, ("", *selectors.TAINT_EFFECTS))
    for constraint in requirements.topology_spread_constraints:
        _check_constraint(constraint)


def _check_constraint(constraint: TopologySpreadConstraint) -> None:
    where = "spec.topologySpreadConstraints"
    _one_of(f"{where}.whenUnsatisfiable", constraint.when_unsatisfiable, ("DoNotSchedule", "ScheduleAnyway"))
    _one_of(f"{where}.nodeAffinityPolicy", constraint.node_affinity_policy, ("Honor", "Ignore"))
    _one_of(f"{where}.nodeTaintsPolicy", constraint.node_taints_policy, ("Honor", "Ignore"))
    if constraint.max_skew < 1:
        raise FieldError(f"{where}.maxSkew", constraint.max_skew, "an integer of at least 1")
    if constraint.min_domains is not None and constraint.min_domains < 1:
        raise FieldError(f"{where}.minDomains", constraint.min_domains, "an integer of at least 1")
    _named(f"{where}.topologyKey", constraint.topology_key)
    if constraint.label_selector is not None:
        _check_expressions(where, constraint.label_selector.match_expressions, selectors.LABEL_OPERATORS)


def _check_pod_term(field: str, term: PodAffinityTerm) -> None:
    _named(f"spec.affinity.{field}.topologyKey", term.topology_key)
    for selector in (term.label_selector, term.namespace_selector):
        if selector is not None:
            _check_expressions(field, selector.match_expressions, selectors.LABEL_OPERATORS)


def _node_terms(affinity: Affinity) -> Iterable[NodeSelectorTerm]:
    rules = affinity.node_affinity
    if rules is None:
        return
    if rules.required_during_scheduling_ignored_during_execution is not None:
        yield from rules.required_during_scheduling_ignored_during_execution.node_selector_terms
    for preferred in rules.preferred_during_scheduling_ignored_during_execution:
        yield preferred.preference


def _pod_terms(side: PodAffinity | None) -> Iterable[PodAffinityTerm]:
    if side is None:
        return
    yield from side.required_during_scheduling_ignored_during_execution
    for weighted in side.preferred_during_scheduling_ignored_during_execution:
        yield weighted.pod_affinity_term


def _check_expressions(where: str, expressions: Iterable[Requirement], operators: tuple[str, ...]) -> None:
    for each in expressions:
        _one_of(f"spec.affinity.{where}.operator", each.operator, operators)


def _one_of(field: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise FieldError(field, value, "one of " + ", ".join(each or '""' for each in accepted))


def _named(field: str, value: str) -> None:
    if not value:
        raise FieldError(field, value, "a label key")


def honoured(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that some policy honours: those of the projects whose names Neaptide keeps."""
    return {key: value for key, value in annotations.items() if _is_honoured(key)}


@lru_cache(maxsize=1 << 12)
def _is_honoured(key: str) -> bool:
    return key.partition("/")[0].endswith(_HONOURED)


_HONOURED = (
    "neaptide.io",
    "karpenter.sh",
    "koordinator.sh",
    "cluster-autoscaler.kubernetes.io",
    "controller.kubernetes.io",
    "descheduler.alpha.kubernetes.io",
    "eks-node-viewer",
)
