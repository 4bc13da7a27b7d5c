"""`neaptide explain node`: what a node holds, what of it is in use, and what the policies make of it."""

from typing import Annotated

import msgspec
from cyclopts import Parameter

from neaptide.cli.amounts import readable
from neaptide.cli.costs import set_prices
from neaptide.cli.dump import Dump, read_dump
from neaptide.cli.exits import UsageError
from neaptide.cli.explained import conclude, known, measured, print_decisions
from neaptide.cli.journal import Decision, decisions, of_cycle
from neaptide.cli.output import Output, emit
from neaptide.cli.preview import preview
from neaptide.cli.settings import settings
from neaptide.model.actions import Ref
from neaptide.model.columns import PHASES
from neaptide.model.problems import LeftOut
from neaptide.model.qos import Band, QoS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY
from neaptide.policies.registry import POLICIES
from neaptide.pricing.load import shipped


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
    """A node as a dump shows it."""

    node: str
    ready: bool
    unschedulable: bool
    taints: list[str]
    labels: dict[str, str]
    price_per_hour: float | None
    usage_age_seconds: float | None
    resources: list[NodeResource]
    pods: list[PodOnNode]


def explain_node(
    name: str,
    /,
    *,
    dump: str | None = None,
    journal: str | None = None,
    policy: tuple[str, ...] = (),
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    usage: tuple[str, ...] = (),
    now: str | None = None,
    output: Output = "table",
) -> int:
    """Explain a node.

    Args:
        name: the node's name.
        dump: the cluster: a file or a directory of objects as JSON or YAML, or - for standard input.
        journal: the directory of a loop's journal, for what was decided in the past.
        policy: ask this policy only; may be repeated. By default all.
        set_: policy.field=value sets a field of a policy; may be repeated.
        usage: a further file with PodMetrics and NodeMetrics; may be repeated.
        now: the time to look at, as 2026-11-21T08:00:00Z; by default the newest time in the dump.
        output: table for people; json or yaml for programs.
    """
    if dump is None and journal is None:
        raise UsageError("explain node needs --dump or --journal")
    chosen = settings(POLICIES, policy, set_)

    def concerns(ref: Ref) -> bool:
        return ref.kind == "Node" and ref.name == name

    explanation = None
    present: list[Decision] = []
    left_out: list[LeftOut] = []
    if dump is not None:
        cluster = read_dump(dump, usage=usage, now=now)
        set_prices(cluster, shipped())
        node = cluster.snapshot.nodes.by_name.get(name)
        if node is None:
            raise UsageError(
                f"{dump}: no node {name!r} is there; accepted: {known(cluster.snapshot.nodes.by_name, name)}"
            )
        explanation = explanation_of(cluster, node)
        present = list(of_cycle(preview(cluster, chosen), concerns))
        left_out = cluster.left_out
    past, damaged = decisions(journal, concerns) if journal is not None else ([], [])
    if output == "table":
        _print_tables(explanation, past + present)
    else:
        emit({"node": explanation, "decisions": past + present, "left_out": damaged + left_out}, output)
    return conclude(damaged + left_out)


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


def _print_tables(explanation: NodeExplanation | None, found: list[Decision]) -> None:
    if explanation is not None:
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
        pods = [
            msgspec.structs.asdict(each)
            | {name: readable(name.removesuffix("_used"), getattr(each, name)) for name in _AMOUNTS}
            for each in explanation.pods
        ]
        emit(pods, "table", title=f"pods ({len(pods)})")
    print_decisions(found)


_AMOUNTS = ("cpu", "memory", "cpu_used", "memory_used")
