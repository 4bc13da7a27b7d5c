"""What is unsafe about pods and their budgets."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from neaptide.kube.doctor.finding import Finding, Seen, some
from neaptide.model.objects import PodDisruptionBudget, PriorityClass
from neaptide.model.qos import Band
from neaptide.model.selectors import labels_match

_OFFLINE = ("koord-mid", "koord-batch", "koord-free")


def priorities(seen: Seen) -> Iterator[Finding]:
    """Offline work that could preempt services that have no priority class."""
    classes: dict[str, PriorityClass] = seen.snapshot.others.get("PriorityClass", {})
    offline = [classes[name] for name in _OFFLINE if name in classes]
    preempting = [each.metadata.name for each in offline if each.preemption_policy != "Never"]
    if preempting:
        yield Finding(
            "problem",
            "priorities",
            f"{', '.join(preempting)} may preempt: under kube-scheduler its pods push out services without a priority class, whose priority is 0",
            "create the class anew with preemptionPolicy: Never (the chart's have it)",
        )
    services = _services_without_class(seen)
    if services and offline:
        yield Finding(
            "warning",
            "priorities",
            f"{len(services)} workloads of the band prod have no priority class ({some(services)}): kube-scheduler ranks them below offline work",
            "give them one (koord-prod), or a Policy podDefaults for their namespaces",
        )


def budgets(seen: Seen) -> Iterator[Finding]:
    """Budgets that never allow a disruption, and pods with several."""
    found: dict[str, PodDisruptionBudget] = seen.snapshot.others.get("PodDisruptionBudget", {})
    by_namespace = _by_namespace(seen)
    selected = {key: _selected(seen, each, by_namespace) for key, each in found.items()}
    stuck = [key for key, each in found.items() if each.status.disruptions_allowed == 0 and selected[key]]
    if stuck:
        yield Finding(
            "warning",
            "disruption budgets",
            f"{len(stuck)} PodDisruptionBudgets allow no disruption now ({some(stuck)}): their pods, and the nodes under them, stay",
            "allow at least one (maxUnavailable: 1), or run one replica more",
        )
    counts = Counter(key for keys in selected.values() for key in keys)
    several = [key for key, count in counts.items() if count > 1]
    if several:
        yield Finding(
            "warning",
            "disruption budgets",
            f"{len(several)} pods have several PodDisruptionBudgets ({some(several)}): the eviction API refuses them",
            "leave one budget per pod",
        )


def bare(seen: Seen) -> Iterator[Finding]:
    """Pods that nobody would start again."""
    pods = seen.snapshot.pods
    rows = pods.indices()
    alone = [
        pods.keys[row]
        for row in rows[(pods.owner[rows] < 0) & (pods.node[rows] >= 0)].tolist()
        if not pods.keys[row].endswith("-" + seen.snapshot.nodes.names[int(pods.node[row])])
    ]
    if alone:
        message = f"{len(alone)} pods have no controller ({some(alone)}): they are never evicted, and hold their nodes"
        yield Finding(
            "note", "pods", message, 'a controller, or cluster-autoscaler.kubernetes.io/safe-to-evict: "true"'
        )


def _services_without_class(seen: Seen) -> list[str]:
    snapshot = seen.snapshot
    pods = snapshot.pods
    rows = pods.indices()
    roots = snapshot.workloads.roots()
    plain = rows[(pods.priority[rows] == 0) & (pods.band[rows] == Band.PROD) & (pods.owner[rows] >= 0)]
    names = (str(snapshot.workloads.refs[root]) for root in np.unique(roots[pods.owner[plain]]).tolist())
    return sorted(names)


def _by_namespace(seen: Seen) -> dict[str, list[int]]:
    """The rows of the pods of each namespace."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row in seen.snapshot.pods.indices().tolist():
        found[seen.snapshot.pod_namespace(row)].append(row)
    return found


def _selected(seen: Seen, budget: PodDisruptionBudget, by_namespace: Mapping[str, list[int]]) -> list[str]:
    """The keys of the pods that a budget selects."""
    snapshot, rows = seen.snapshot, by_namespace.get(budget.metadata.namespace, [])
    return [snapshot.pods.keys[row] for row in rows if labels_match(budget.spec.selector, snapshot.pod_labels(row))]
