"""`neaptide explain node`: what a node holds, what of it is in use, and what the policies make of it."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from cyclopts import Parameter

from neaptide.cli.amounts import readable
from neaptide.cli.dump import Dump
from neaptide.cli.explained import LIVE, Sources, conclude, explained, find_node, measured
from neaptide.cli.output import Output, emit
from neaptide.model.accounts import Account, account_of
from neaptide.model.actions import Ref
from neaptide.model.columns import PHASES
from neaptide.model.qos import Band, QoS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY


class NodeResource(msgspec.Struct, frozen=True):
    """Amounts of one resource: milli-CPU, bytes or counts. `used` is what was measured, None where nothing was."""

    resource: str
    capacity: int
    allocatable: int
    requested: int
    free: int
    used: float | None


class PodOnNode(msgspec.Struct, frozen=True):
    """A pod and what it takes (milli-CPU, bytes); what it uses is None where nothing was measured."""

    pod: str
    workload: str | None
    phase: str
    qos: str
    band: str
    priority: int
    cpu: int
    memory: int
    cpu_used: float | None
    memory_used: float | None


class NodeExplanation(msgspec.Struct, frozen=True):
    """A node as a dump shows it; `accounts` tells of cpu and memory what is free, what is lent and who uses it."""

    node: str
    ready: bool
    unschedulable: bool
    taints: list[str]
    labels: dict[str, str]
    price_per_hour: float | None
    usage_age_seconds: float | None
    resources: list[NodeResource]
    accounts: dict[str, Account]
    pods: list[PodOnNode]


def explain_node(
    name: str, /, *, sources: Annotated[Sources, Parameter(name="*")] = LIVE, output: Output = "table"
) -> int:
    """Explain a node.

    Args:
        name: the node's name.
        sources: what is looked at.
        output: table for people; json or yaml for programs.
    """
    looked, facts = sources.look(), None
    if looked is not None:
        facts = explanation_of(looked.cluster, find_node(sources, looked, name))
    found = explained(sources, "node", looked, facts, [Ref("Node", name)])
    if output == "table" and facts is not None:
        _print_tables(facts)
    return conclude(found, output)


def explanation_of(cluster: Dump, node: int) -> NodeExplanation:
    """Everything that a dump says of a node (its row)."""
    snapshot, nodes = cluster.snapshot, cluster.snapshot.nodes
    time = measured(nodes.usage_time[node])
    return NodeExplanation(
        node=nodes.names[node],
        ready=bool(nodes.ready[node]),
        unschedulable=bool(nodes.unschedulable[node]),
        taints=[f"{each.key}={each.value}:{each.effect}" for each in snapshot.node_taints(node)],
        labels=snapshot.node_labels(node),
        price_per_hour=measured(nodes.price[node]),
        usage_age_seconds=None if time is None else cluster.now - time,
        resources=_resources(snapshot, node),
        accounts={name: account_of(snapshot, row, [node]) for name, row in (("cpu", CPU), ("memory", MEMORY))},
        pods=sorted((_pod(snapshot, pod) for pod in snapshot.pods_on(node)), key=lambda pod: (-pod.cpu, pod.pod)),
    )


def _resources(snapshot: ClusterSnapshot, node: int) -> list[NodeResource]:
    nodes = snapshot.nodes
    used = {CPU: measured(nodes.usage_cpu[node]), MEMORY: measured(nodes.usage_memory[node])}
    rows = []
    for row, resource in enumerate(snapshot.resources):
        capacity, allocatable, requested = (
            int(table[row, node]) for table in (nodes.capacity, nodes.allocatable, nodes.used)
        )
        if capacity or allocatable or requested:
            free = allocatable - requested
            rows.append(NodeResource(resource, capacity, allocatable, requested, free, used.get(row)))
    return rows


def _pod(snapshot: ClusterSnapshot, pod: int) -> PodOnNode:
    pods, workload = snapshot.pods, snapshot.workload_of(pod)
    request = snapshot.pod_requests(pod)
    return PodOnNode(
        pod=pods.keys[pod],
        workload=None if workload is None else str(workload),
        phase=PHASES[pods.phase[pod]],
        qos=QoS(snapshot.classes.qos[pods.cls[pod]]).name,
        band=Band(pods.band[pod]).name.lower(),
        priority=int(pods.priority[pod]),
        cpu=int(request[CPU]),
        memory=int(request[MEMORY]),
        cpu_used=measured(pods.usage_cpu[pod]),
        memory_used=measured(pods.usage_memory[pod]),
    )


def _print_tables(explanation: NodeExplanation) -> None:
    facts = {
        name: getattr(explanation, name)
        for name in ("ready", "unschedulable", "taints", "labels", "price_per_hour", "usage_age_seconds")
    }
    emit(facts, "table", title=f"node {explanation.node}")
    resources = [
        {"resource": each.resource}
        | {
            name: readable(each.resource, getattr(each, name))
            for name in ("capacity", "allocatable", "requested", "free", "used")
        }
        for each in explanation.resources
    ]
    emit(resources, "table", title="resources")
    emit(list(_tiers(explanation)), "table", title="who has it: free, lent and used stand apart")
    pods = [
        msgspec.structs.asdict(each)
        | {name: readable(name.removesuffix("_used"), getattr(each, name)) for name in _AMOUNTS}
        for each in explanation.pods
    ]
    emit(pods, "table", title=f"pods ({len(pods)})")


def _tiers(explanation: NodeExplanation) -> Iterator[dict[str, object]]:
    """One row for the resource itself and for each tier that is lent."""
    for name, account in explanation.accounts.items():
        used = account.used or {}
        own = (account.capacity - account.reserved, account.requested, account.free)
        rows = {"own": own} | {key: (tier.offered, tier.requested, tier.free) for key, tier in account.tiers.items()}
        for key, (offered, requested, free) in rows.items():
            of_tier = used.get("prod" if key == "own" else key, 0.0) if account.used is not None else None
            amounts = {"offered": offered, "requested": requested, "free": free, "used": of_tier}
            readables: dict[str, object] = {at: readable(name, amount) for at, amount in amounts.items()}
            yield {"resource": name, "tier": key} | readables


_AMOUNTS = ("cpu", "memory", "cpu_used", "memory_used")
