"""Who else moves pods, adds nodes or schedules here."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from neaptide.kube.doctor.finding import Finding, Seen, Severity

_OURS = ("default-scheduler", "neaptide")


class Other(NamedTuple):
    """Another project: how it is known (an API group that it brings, a lease that it holds), and what it means for us."""

    name: str
    groups: tuple[str, ...]
    leases: tuple[str, ...]
    severity: Severity
    meaning: str
    fix: str = ""


OTHERS = (
    Other("Karpenter", ("karpenter.sh",), ("karpenter-leader-election",), "note", "nodes are bought and given back through its NodePools and NodeClaims"),
    Other("cluster-autoscaler", (), ("cluster-autoscaler",), "note", "nodes are bought and given back by it: its annotations and taints are honoured"),
    Other(
        "Koordinator", ("slo.koordinator.sh",), ("koordinator-manager", "koord-manager", "koord-scheduler"), "warning",
        "koord-manager sets the same node resources: Enforce of reclaim is refused while it runs",
        "let one of the two set them: disable colocation in slo-controller-config, or leave reclaim in Recommend",
    ),
    Other(
        "descheduler", (), ("descheduler",), "warning", "it evicts pods on its own: what one packs the other may spread",
        "exclude from it the namespaces that Policies cover",
    ),
    Other("Kueue", ("kueue.x-k8s.io",), (), "note", "Jobs that it manages are left alone by time windows"),
    Other("Volcano", ("scheduling.volcano.sh",), ("volcano",), "note", "pods with schedulerName volcano are placed by it"),
    Other("VPA", ("autoscaling.k8s.io",), ("vpa-updater",), "note", "its updater evicts pods to change their requests"),
    Other("KEDA", ("keda.sh",), (), "note", "workloads that it scales are not suspended or resized"),
    Other("Knative", ("serving.knative.dev",), (), "note", "its services are scaled by its own autoscaler"),
    Other("Karmada", ("policy.karmada.io",), (), "note", "workloads may come from another control plane"),
)  # fmt: skip


def others(seen: Seen) -> Iterator[Finding]:
    """Projects that act on the same objects."""
    groups, leases = seen.groups(), {key.partition("/")[2] for key in seen.leases or ()}
    for other in OTHERS:
        signs = [f"API group {group}" for group in other.groups if group in groups]
        signs += [f"lease {name}" for name in other.leases if name in leases]
        if signs:
            yield Finding(other.severity, other.name, f"{', '.join(signs)}: {other.meaning}", other.fix)


def schedulers(seen: Seen) -> Iterator[Finding]:
    """Schedulers that pods ask for by name."""
    pods = seen.snapshot.pods
    counts = Counter(pods.schedulers[row] for row in pods.indices().tolist())
    for name, count in counts.most_common():
        if name not in _OURS:
            message = f"{count} pods ask for the scheduler {name}: plans assume kube-scheduler's rules for them"
            yield Finding("note", "schedulers", message)


def webhooks(seen: Seen) -> Iterator[Finding]:
    """Webhooks that can keep pods from starting again after they were evicted."""
    for name, policy in seen.webhooks.items():
        if policy == "Fail":
            yield Finding(
                "warning",
                "admission",
                f"the webhook {name} is asked about every pod with failurePolicy Fail: while it is down, evicted pods do not come back",
                "run it in several replicas, or set failurePolicy: Ignore",
            )
