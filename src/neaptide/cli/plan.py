"""`neaptide plan`: what the policies would do with a cluster, as it is or as it was written down, and what that saves."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from msgspec.structs import replace

from neaptide.cli.connection import DEFAULT, Connection
from neaptide.cli.dump import Dump
from neaptide.cli.exits import CHANGES, OK, PARTIAL, USAGE
from neaptide.cli.live_plan import dump_plan, live_plan, refuse_flags_of_dumps
from neaptide.cli.output import Output, emit
from neaptide.cli.preview import PLANNED, planned
from neaptide.loop import Cycle
from neaptide.model.actions import AnyAction, CreateNode, DeleteNode, Evict, Plan, Ref
from neaptide.model.manifests import KINDS
from neaptide.model.problems import LeftOut
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.cost_bound import bound_of
from neaptide.pricing.cluster import money_per_hour

_ROWS = 40
"""So many rows of each table are printed for people."""


class Money(msgspec.Struct, frozen=True):
    """US dollars per hour; None where unknown."""

    now: float | None
    planned: float | None
    lower_bound: float | None


class Nodes(msgspec.Struct, frozen=True):
    """How many nodes there are, and would be."""

    now: int
    planned: int


class PlannedAction(msgspec.Struct, frozen=True):
    """One action; `money_per_hour` is the change it makes, None where unknown."""

    policy: str
    kind: str
    target: str
    reason: str
    money_per_hour: float | None
    risk: float


class PlanDocument(msgspec.Struct, frozen=True):
    """What `neaptide plan --output json` prints; the form is stable (docs/cli.md)."""

    money_per_hour: Money
    nodes: Nodes
    evictions: int
    actions: list[PlannedAction]
    left_out: list[LeftOut]


def plan(
    dump: str | None = None,
    /,
    *,
    policy: tuple[str, ...] = (),
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    prices: str | None = None,
    usage: tuple[str, ...] = (),
    now: str | None = None,
    exit_code: bool = False,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
    output: Output = "table",
) -> int:
    """Print the plan.

    Args:
        dump: a file or a directory of cluster objects as JSON or YAML, or - for standard input; by default the cluster itself.
        policy: plan with this policy only; may be repeated. By default with those that the cluster's Policies name, else with all.
        set_: policy.field=value sets a field of a policy; may be repeated.
        prices: a price catalogue (YAML or CSV); by default the cluster's PriceCatalogues, else the public list prices that come with the package.
        usage: a further file with PodMetrics and NodeMetrics; may be repeated.
        now: the time to plan for, as 2026-11-21T08:00:00Z; by default the newest time in the dump.
        exit_code: exit with 2 where there is something to do.
        connection: which cluster.
        output: table for people; json or yaml for programs.
    """
    if dump is None:
        refuse_flags_of_dumps({"--usage": usage, "--now": now})
        found = live_plan(connection, policy, set_, prices)
    else:
        found = dump_plan(dump, policy, set_, prices, usage=usage, now=now)
    cluster, cycle = found.cluster, found.cycle
    cluster.left_out.extend(unusable(cycle, cluster.node_files))
    document = document_of(cluster, planned(cycle))
    if output == "table":
        _print_tables(document, cycle)
    else:
        emit(document, output)
    for sentence in found.notes:
        print(f"neaptide: {sentence}", file=sys.stderr)
    code = _conclude(cluster, dump or "the cluster")
    return CHANGES if exit_code and document.actions else code


def unusable(cycle: Cycle, node_files: Mapping[str, str]) -> list[LeftOut]:
    """What policies could not use of objects (annotations, say), with the object's file."""
    return [
        replace(each.problem, file=node_files.get(each.target.name, ""), object=str(each.target))
        for plan in cycle.plans
        for each in plan.declined
        if each.problem is not None
    ]


def document_of(cluster: Dump, actions: Sequence[AnyAction]) -> PlanDocument:
    """The stable form of a plan. What several policies want done to an object happens, and saves, once."""
    snapshot = cluster.snapshot
    now, change = money_per_hour(snapshot), _change(actions)
    planned = None if now is None or change is None else now + change
    nodes = len(snapshot.nodes.indices())
    kinds = Counter(kind for kind, _ in {(type(action), action.target) for action in actions})
    return PlanDocument(
        Money(now, planned, bound_of(snapshot)),
        Nodes(nodes, nodes + kinds[CreateNode] - kinds[DeleteNode]),
        kinds[Evict],
        [_row(action) for action in actions],
        cluster.left_out,
    )


def _change(actions: Sequence[AnyAction]) -> float | None:
    """US dollars per hour that actions change, by each object what its weightiest does; None where one is unknown."""
    changes: dict[Ref, float] = {}
    for action in actions:
        change, before = action.expected.money_per_hour, changes.get(action.target, 0.0)
        if change is None:
            return None
        changes[action.target] = max(before, change, key=abs)
    return fsum(changes.values())


def _row(action: AnyAction) -> PlannedAction:
    return PlannedAction(
        action.policy,
        type(action).__name__,
        str(action.target),
        action.reason.message,
        action.expected.money_per_hour,
        action.expected.risk,
    )


def _print_tables(document: PlanDocument, cycle: Cycle) -> None:
    """The document, then what the arbiter refused, and how much the policies left alone and why."""
    money, nodes = document.money_per_hour, document.nodes
    sums = [
        {"": "US dollars per hour", "now": money.now, "planned": money.planned, "lower bound": money.lower_bound},
        {"": "nodes", "now": nodes.now, "planned": nodes.planned},
        {"": "evictions", "planned": document.evictions},
    ]
    refused = [
        {"policy": each.action.policy, "target": str(each.action.target), "reason": each.reason.message}
        for each in cycle.outcomes
        if each.result not in PLANNED
    ]
    many = len(document.actions) > _ROWS
    tables: dict[str, Sequence[Any]] = {
        "plan": sums,
        "actions in sum": _in_sum(document.actions) if many else [],
        "actions": document.actions,
        "refused by the arbiter": refused,
        "left alone by the policies": _left_alone(cycle.plans),
        "left out of the input": document.left_out,
    }
    for title, rows in tables.items():
        if rows:
            emit(rows[:_ROWS], "table", title=title)
        if len(rows) > _ROWS:
            print(f"… and {len(rows) - _ROWS} more; --output json has all of them")


def _in_sum(actions: Iterable[PlannedAction]) -> list[dict[str, Any]]:
    """By policy and kind, how many actions there are and what they change."""
    changes: dict[tuple[str, str], list[float | None]] = {}
    for each in actions:
        changes.setdefault((each.policy, each.kind), []).append(each.money_per_hour)
    return [
        {
            "policy": policy,
            "kind": kind,
            "actions": len(found),
            "money_per_hour": None if None in found else sum(each or 0.0 for each in found),
        }
        for (policy, kind), found in changes.items()
    ]


def _left_alone(plans: Iterable[Plan]) -> list[dict[str, Any]]:
    counts = Counter((plan.policy, each.reason.code) for plan in plans for each in plan.declined)
    return [{"policy": policy, "reason": code, "objects": count} for (policy, code), count in counts.most_common()]


def _conclude(cluster: Dump, path: str) -> int:
    """Say on standard error what the reader should know of the input; the exit code."""
    snapshot = cluster.snapshot
    for note in notes(snapshot) if cluster.objects else ():
        print(f"neaptide: {path}: {note}", file=sys.stderr)
    if cluster.left_out:
        print(f"neaptide: {path}: {len(cluster.left_out)} left out, the first: {cluster.left_out[0]}", file=sys.stderr)
    if not cluster.objects:
        print(f"neaptide: {path}: no object that is read is there; accepted: {', '.join(KINDS)}", file=sys.stderr)
        return USAGE if cluster.left_out else PARTIAL
    return PARTIAL if cluster.left_out or not len(snapshot.nodes.indices()) else OK


def notes(snapshot: ClusterSnapshot) -> list[str]:
    """What a dump lacks and a plan would need, in sentences."""
    found = []
    nodes, pods = len(snapshot.nodes.indices()), snapshot.pods.indices()
    owners = snapshot.pods.owner[pods]
    running = set(snapshot.workloads.roots()[owners[owners >= 0]].tolist())
    top = [row for row, item in enumerate(snapshot.workloads.objects) if item and snapshot.workloads.root(row) == row]
    idle = len(set(top) - running)
    if not nodes:
        found.append(
            f"it holds no node that can be used ({len(pods)} pods, {len(top)} workloads), so nothing can be planned"
        )
    if idle:
        found.append(f"{idle} of {len(top)} workloads have no pods in it: what they would take is not counted")
    return found
