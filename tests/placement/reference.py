"""kube-scheduler's rules written out naively, one pod and one node at a time, from the objects alone: what tests compare with."""

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from neaptide.model import objects as o
from neaptide.model.quantity import for_resource
from neaptide.model.requests import effective_requests, scoring_requests

Counts = dict[str, int]


class Cluster(Struct):
    """Nodes, bound pods and namespaces, as objects."""

    nodes: list[o.Node]
    pods: list[o.Pod]
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)

    def on(self, node: o.Node) -> list[o.Pod]:
        return [pod for pod in self.pods if pod.spec.node_name == node.metadata.name]

    def node_of(self, pod: o.Pod) -> o.Node:
        return next(node for node in self.nodes if node.metadata.name == pod.spec.node_name)


def meets(requirement: o.Requirement, labels: Mapping[str, str]) -> bool:
    key, values = requirement.key, requirement.values
    if requirement.operator == "In":
        return key in labels and labels[key] in values
    if requirement.operator == "NotIn":
        return key not in labels or labels[key] not in values
    if requirement.operator == "Exists":
        return key in labels
    if requirement.operator == "DoesNotExist":
        return key not in labels
    if key not in labels or not labels[key].isdigit():
        return False
    found, bound = int(labels[key]), int(values[0])
    return found > bound if requirement.operator == "Gt" else found < bound


def selects(selector: o.LabelSelector | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    for key, value in selector.match_labels.items():
        if labels.get(key) != value:
            return False
    return all(meets(each, labels) for each in selector.match_expressions)


def in_term(term: o.NodeSelectorTerm, node: o.Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(meets(each, node.metadata.labels) for each in term.match_expressions) and all(
        meets(each, fields) for each in term.match_fields
    )


def node_affinity_admits(pod: o.Pod, node: o.Node) -> bool:
    for key, value in pod.spec.node_selector.items():
        if node.metadata.labels.get(key) != value:
            return False
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return required is None or any(in_term(term, node) for term in required.node_selector_terms)


def tolerated(taint: o.Taint, pod: o.Pod) -> bool:
    for toleration in pod.spec.tolerations:
        if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
            continue
        if toleration.operator == "Exists":
            return True
        if toleration.operator in ("", "Equal") and toleration.key and toleration.value == taint.value:
            return True
    return False


def taints_admit(pod: o.Pod, node: o.Node) -> bool:
    return all(tolerated(taint, pod) for taint in node.spec.taints if taint.effect in ("NoSchedule", "NoExecute"))


def ports(pod: o.Pod) -> list[tuple[str, str, int]]:
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    return [
        (port.host_ip or "0.0.0.0", port.protocol, port.host_port)  # noqa: S104 - the API's spelling
        for container in [*sidecars, *pod.spec.containers]
        for port in container.ports
        if port.host_port
    ]


def clash(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    same_address = one[0] == other[0] or "0.0.0.0" in (one[0], other[0])  # noqa: S104 - the API's spelling
    return same_address and one[1:] == other[1:]


def fit_reasons(cluster: Cluster, pod: o.Pod, node: o.Node) -> list[str]:
    there = cluster.on(node)
    allocatable = {name: for_resource(name, text) for name, text in node.status.allocatable.items()}
    reasons = []
    if len(there) + 1 > allocatable.get("pods", 0):
        reasons.append("Too many pods")
    for resource, wanted in effective_requests(pod.spec).items():
        used = sum(effective_requests(other.spec).get(resource, 0) for other in there)
        if wanted > 0 and wanted > allocatable.get(resource, 0) - used:
            reasons.append(f"Insufficient {resource}")
    return reasons


def term_applies(cluster: Cluster, term: o.PodAffinityTerm, owner: o.Pod, other: o.Pod, *, incoming: bool) -> bool:
    """Whether a term of `owner` speaks of `other`."""
    namespace = other.metadata.namespace
    labels = cluster.namespaces.get(namespace)
    if not term.namespaces and term.namespace_selector is None:
        covered = namespace == owner.metadata.namespace
    else:
        covered = namespace in term.namespaces or selects(term.namespace_selector, labels or {})
        covered = covered or (incoming and selects(term.namespace_selector, {}))
    selector = term.label_selector
    if selector is None or not covered:
        return False
    mine, theirs = owner.metadata.labels, other.metadata.labels
    for key in term.match_label_keys:
        if key in mine and theirs.get(key) != mine[key]:
            return False
    for key in term.mismatch_label_keys:
        if key in mine and theirs.get(key) == mine[key]:
            return False
    return selects(selector, theirs)


def terms(pod: o.Pod, *, anti: bool) -> tuple[o.PodAffinityTerm, ...]:
    affinity = pod.spec.affinity
    side = (affinity.pod_anti_affinity if anti else affinity.pod_affinity) if affinity else None
    return side.required_during_scheduling_ignored_during_execution if side else ()


def preferred(pod: o.Pod, *, anti: bool) -> tuple[o.WeightedPodAffinityTerm, ...]:
    affinity = pod.spec.affinity
    side = (affinity.pod_anti_affinity if anti else affinity.pod_affinity) if affinity else None
    return side.preferred_during_scheduling_ignored_during_execution if side else ()


def same_domain(key: str, one: o.Node, other: o.Node) -> bool:
    here, there = one.metadata.labels.get(key), other.metadata.labels.get(key)
    return here is not None and here == there


def affinity_reason(cluster: Cluster, pod: o.Pod, node: o.Node) -> list[str]:
    wanted = terms(pod, anti=False)
    if wanted:
        matching = [
            other for other in cluster.pods if all(term_applies(cluster, t, pod, other, incoming=True) for t in wanted)
        ]
        keyed = all(term.topology_key in node.metadata.labels for term in wanted)
        joined = all(
            any(same_domain(term.topology_key, node, cluster.node_of(other)) for other in matching) for term in wanted
        )
        counted = any(
            term.topology_key in cluster.node_of(other).metadata.labels for other in matching for term in wanted
        )
        first = not counted and all(term_applies(cluster, t, pod, pod, incoming=True) for t in wanted)
        if not keyed or not (joined or first):
            return ["node(s) didn't match pod affinity rules"]
    for term in terms(pod, anti=True):
        for other in cluster.pods:
            if term_applies(cluster, term, pod, other, incoming=True) and same_domain(
                term.topology_key, node, cluster.node_of(other)
            ):
                return ["node(s) didn't match pod anti-affinity rules"]
    for other in cluster.pods:
        for term in terms(other, anti=True):
            if term_applies(cluster, term, other, pod, incoming=False) and same_domain(
                term.topology_key, node, cluster.node_of(other)
            ):
                return ["node(s) didn't satisfy existing pods anti-affinity rules"]
    return []


def spread_matches(constraint: o.TopologySpreadConstraint, owner: o.Pod, other: o.Pod) -> bool:
    if other.metadata.namespace != owner.metadata.namespace or not selects(
        constraint.label_selector, other.metadata.labels
    ):
        return False
    mine, theirs = owner.metadata.labels, other.metadata.labels
    return all(theirs.get(key) == mine[key] for key in constraint.match_label_keys if key in mine)


def counts_pods(constraint: o.TopologySpreadConstraint, pod: o.Pod) -> bool:
    """An empty selector counts nobody."""
    selector = constraint.label_selector
    merged = any(key in pod.metadata.labels for key in constraint.match_label_keys)
    return selector is not None and bool(selector.match_labels or selector.match_expressions or merged)


def spread_count(cluster: Cluster, constraint: o.TopologySpreadConstraint, pod: o.Pod, nodes: Iterable[o.Node]) -> int:
    if not counts_pods(constraint, pod):
        return 0
    return sum(
        other.metadata.deletion_timestamp is None and spread_matches(constraint, pod, other)
        for node in nodes
        for other in cluster.on(node)
    )


def spread_nodes(
    cluster: Cluster, constraint: o.TopologySpreadConstraint, pod: o.Pod, keys: Iterable[str]
) -> list[o.Node]:
    """The nodes that a constraint looks at."""
    wanted = list(keys)
    return [
        node
        for node in cluster.nodes
        if all(key in node.metadata.labels for key in wanted)
        and (constraint.node_affinity_policy == "Ignore" or node_affinity_admits(pod, node))
        and (constraint.node_taints_policy == "Ignore" or taints_admit(pod, node))
    ]


def spread_reason(cluster: Cluster, pod: o.Pod, node: o.Node) -> list[str]:
    hard = [each for each in pod.spec.topology_spread_constraints if each.when_unsatisfiable == "DoNotSchedule"]
    for constraint in hard:
        key = constraint.topology_key
        if key not in node.metadata.labels:
            return ["node(s) didn't match pod topology spread constraints (missing required label)"]
        nodes = spread_nodes(cluster, constraint, pod, [each.topology_key for each in hard])
        by_domain = {
            domain: spread_count(
                cluster, constraint, pod, [each for each in nodes if each.metadata.labels[key] == domain]
            )
            for domain in {each.metadata.labels[key] for each in nodes}
        }
        least = min(by_domain.values(), default=0) if len(by_domain) >= (constraint.min_domains or 1) else 0
        itself = spread_matches(constraint, pod, pod)
        if by_domain.get(node.metadata.labels[key], 0) + itself - least > constraint.max_skew:
            return ["node(s) didn't match pod topology spread constraints"]
    return []


def reasons(cluster: Cluster, pod: o.Pod, node: o.Node) -> tuple[str, ...]:
    """Why a node cannot take a pod: the reasons of the first plugin that refuses it; empty where it can."""
    cordon = o.Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
    if node.spec.unschedulable and not tolerated(cordon, pod):
        return ("node(s) were unschedulable",)
    if not taints_admit(pod, node):
        return ("node(s) had untolerated taint(s)",)
    if not node_affinity_admits(pod, node):
        return ("node(s) didn't match Pod's node affinity/selector",)
    used = [port for other in cluster.on(node) for port in ports(other)]
    if any(clash(mine, theirs) for mine in ports(pod) for theirs in used):
        return ("node(s) didn't have free ports for the requested pod ports",)
    for found in (
        fit_reasons(cluster, pod, node),
        spread_reason(cluster, pod, node),
        affinity_reason(cluster, pod, node),
    ):
        if found:
            return tuple(found)
    return ()


# -- scores ------------------------------------------------------------------------------------------------------------


def least_allocated(cluster: Cluster, pod: o.Pod, node: o.Node) -> int:
    scores = [(free * 100 // size if free > 0 else 0) for size, free in _left(cluster, pod, node)]
    return sum(scores) // len(scores) if scores else 0


def most_allocated(cluster: Cluster, pod: o.Pod, node: o.Node) -> int:
    scores = [min(size - free, size) * 100 // size for size, free in _left(cluster, pod, node)]
    return sum(scores) // len(scores) if scores else 0


def _left(cluster: Cluster, pod: o.Pod, node: o.Node) -> list[tuple[int, int]]:
    """Of cpu and memory: what is allocatable, and what of it is left with the pod."""
    there = [*cluster.on(node), pod]
    found = []
    for position, resource in enumerate(("cpu", "memory")):
        size = for_resource(resource, node.status.allocatable.get(resource, "0"))
        if size:
            found.append((size, size - sum(scoring_requests(each.spec)[position] for each in there)))
    return found


def balanced(cluster: Cluster, pod: o.Pod, node: o.Node) -> int | None:
    wanted = effective_requests(pod.spec)
    if not wanted.get("cpu") and not wanted.get("memory"):
        return None
    with_pod, without = (_balance(node, there) for there in ([*cluster.on(node), pod], cluster.on(node)))
    return 50 + (50 + with_pod - without) // 2


def _balance(node: o.Node, there: list[o.Pod]) -> int:
    parts = []
    for resource in ("cpu", "memory"):
        size = for_resource(resource, node.status.allocatable.get(resource, "0"))
        if size:
            parts.append(min(1.0, sum(effective_requests(each.spec).get(resource, 0) for each in there) / size))
    deviation = abs((parts[0] - parts[1]) / 2) if len(parts) == 2 else 0.0
    return int((1 - deviation) * 100)


def preferred_nodes(pod: o.Pod, nodes: list[o.Node]) -> list[int] | None:
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    wished = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
    if not wished:
        return None
    return _normal([sum(each.weight for each in wished if in_term(each.preference, node)) for node in nodes])


def preferred_taints(pod: o.Pod, nodes: list[o.Node]) -> list[int]:
    raw = [
        sum(each.effect == "PreferNoSchedule" and not tolerated(each, pod) for each in node.spec.taints)
        for node in nodes
    ]
    return [100 - each for each in _normal(raw)]


def _normal(raw: list[int]) -> list[int]:
    largest = max(raw, default=0)
    return [100 * each // largest if largest else 0 for each in raw]


def preferred_pods(cluster: Cluster, pod: o.Pod, nodes: list[o.Node]) -> list[int]:
    raw = [_pull(cluster, pod, node) for node in nodes]
    least, largest = min(raw, default=0), max(raw, default=0)
    return [int(100 * ((each - least) / (largest - least))) if largest > least else 0 for each in raw]


def _pull(cluster: Cluster, pod: o.Pod, node: o.Node) -> int:
    total = 0
    for other in cluster.pods:
        there = cluster.node_of(other)
        for sign, anti in ((1, False), (-1, True)):
            for wish in preferred(pod, anti=anti):
                term = wish.pod_affinity_term
                if term_applies(cluster, term, pod, other, incoming=True) and same_domain(
                    term.topology_key, node, there
                ):
                    total += sign * wish.weight
            for wish in preferred(other, anti=anti):
                term = wish.pod_affinity_term
                if term_applies(cluster, term, other, pod, incoming=False) and same_domain(
                    term.topology_key, node, there
                ):
                    total += sign * wish.weight
        for term in terms(other, anti=False):
            if term_applies(cluster, term, other, pod, incoming=False) and same_domain(term.topology_key, node, there):
                total += 1
    return total


def spread_scores(cluster: Cluster, pod: o.Pod, nodes: list[o.Node]) -> list[int] | None:
    soft = [each for each in pod.spec.topology_spread_constraints if each.when_unsatisfiable == "ScheduleAnyway"]
    if not soft:
        return None
    keys = [each.topology_key for each in soft]
    scored = [node for node in nodes if all(key in node.metadata.labels for key in keys)]
    raw = {}
    for node in scored:
        total = 0.0
        for constraint in soft:
            key = constraint.topology_key
            if key == "kubernetes.io/hostname":
                count, size = spread_count(cluster, constraint, pod, [node]), len(scored)
            else:
                looked_at = spread_nodes(cluster, constraint, pod, keys)
                here = [each for each in looked_at if same_domain(key, each, node)]
                count, size = (
                    spread_count(cluster, constraint, pod, here),
                    len({each.metadata.labels[key] for each in scored}),
                )
            total += count * math.log(size + 2) + (constraint.max_skew - 1)
        raw[node.metadata.name] = math.floor(total + 0.5)
    least, largest = min(raw.values(), default=0), max(raw.values(), default=0)
    found = []
    for node in nodes:
        if node.metadata.name not in raw:
            found.append(0)
        elif largest == 0:
            found.append(100)
        else:
            found.append(100 * (largest + least - raw[node.metadata.name]) // largest)
    return found
