"""`neaptide explain workload`: its pods and where they are, its windows, who would touch it, and why not elsewhere."""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import nan
from typing import Annotated, Any

import msgspec
import numpy as np
from cyclopts import Parameter

from neaptide.cli.amounts import readable
from neaptide.cli.dump import Dump
from neaptide.cli.exits import UsageError
from neaptide.cli.explain_pod import budgets, place
from neaptide.cli.explained import LIVE, Sources, conclude, explained, known, measured, missing
from neaptide.cli.output import Output, emit
from neaptide.cli.verdicts import Refused, explain_placement
from neaptide.loop import Setting
from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, PHASES, SUCCEEDED
from neaptide.model.qos import Band, QoS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.workloads import is_finished, is_suspended
from neaptide.placement.profile import DEFAULT
from neaptide.policies.offline_work import census, load, offline_pods, selects
from neaptide.policies.protection import protection
from neaptide.policies.time_windows_spec import TimeWindowsSpec
from neaptide.policies.time_windows_state import state_of

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "ReplicationController", "CloneSet")


class PodOfWorkload(msgspec.Struct, frozen=True):
    """A pod. Amounts are milli-CPU and bytes; `protected` says why it must not be evicted, None where it may be."""

    pod: str
    node: str | None
    phase: str
    cpu: int
    memory: int
    cpu_used: float | None
    memory_used: float | None
    protected: str | None


class Window(msgspec.Struct, frozen=True):
    """A rule of the policy time-windows that is about it: whether it is open, and until when or why not."""

    rule: str
    about: str
    open: bool
    says: str


class Elsewhere(msgspec.Struct, frozen=True):
    """Where pods that are refused alike could go: how many nodes of all, and what refuses the others."""

    pods: int
    such_as: str
    feasible: int
    nodes: int
    refused: list[Refused]


class WorkloadExplanation(msgspec.Struct, frozen=True):
    """A workload as the cluster shows it; `state` is `not seen` where only its pods name it.

    `wanted` is the number of pods that it asks for, None where it does not say; `disruption_budgets` are those that select
    any of its pods, with the disruptions that each still allows.
    """

    workload: str
    owner: str | None
    state: str
    wanted: int | None
    phases: dict[str, int]
    qos: list[str]
    bands: list[str]
    requests: dict[str, int]
    disruption_budgets: dict[str, int]
    windows: list[Window]
    elsewhere: list[Elsewhere]
    pods: list[PodOfWorkload]


def explain_workload(
    name: str, /, *, sources: Annotated[Sources, Parameter(name="*")] = LIVE, output: Output = "table"
) -> int:
    """Explain a workload.

    Args:
        name: its name, with its kind or namespace before it where that alone is not clear: web, deployment/web, default/web, deployment/default/web.
        sources: what is looked at.
        output: table for people; json or yaml for programs.
    """
    looked, facts = sources.look(), None
    if looked is None:
        wanted = _named(name)
    else:
        snapshot = looked.cluster.snapshot
        rows = _rows(snapshot, name)
        if len(rows) != 1:
            names = [_path(snapshot.workloads.refs[row]) for row in rows or range(len(snapshot.workloads.refs))]
            if rows:
                raise UsageError(f"{sources.where}: several workloads are named {name!r}; accepted: {known(names, '')}")
            raise missing(sources, looked, f"workload {name!r}", names, name)
        facts = explanation_of(looked.cluster, rows[0], looked.settings)
        below = np.flatnonzero(snapshot.workloads.below(rows[0])).tolist()
        wanted = [snapshot.workloads.refs[row] for row in below]
        wanted += [snapshot.pod_ref(pod) for pod in _pods(snapshot, rows[0])]
    found = explained(sources, "workload", looked, facts, wanted)
    if output == "table" and facts is not None:
        _print_tables(facts)
    return conclude(found, output)


def explanation_of(cluster: Dump, row: int, settings: Sequence[Setting]) -> WorkloadExplanation:
    """Everything that a snapshot says of a workload (its row)."""
    snapshot, table = cluster.snapshot, cluster.snapshot.pods
    item, parent = snapshot.workloads.objects[row], int(snapshot.workloads.columns.parent[row])
    pods = _pods(snapshot, row)
    staying = [pod for pod in pods if table.phase[pod] not in (SUCCEEDED, FAILED)]
    requests: Counter[str] = Counter()
    for pod in staying:
        requests.update(snapshot.shape_of_pod(pod).requests)
    state = "not seen" if item is None else "suspended" if is_suspended(item) else "active"
    return WorkloadExplanation(
        workload=str(snapshot.workloads.refs[row]),
        owner=str(snapshot.workloads.refs[parent]) if parent >= 0 else None,
        state="finished" if item is not None and is_finished(item) else state,
        wanted=None if item is None else item.spec.parallelism if item.kind == "Job" else item.spec.replicas,
        phases=dict(Counter(PHASES[table.phase[pod]] for pod in pods)),
        qos=sorted({QoS(snapshot.classes.qos[table.cls[pod]]).name for pod in pods}),
        bands=sorted({Band(table.band[pod]).name.lower() for pod in pods}),
        requests=dict(requests),
        disruption_budgets={name: left for pod in staying for name, left in budgets(snapshot, pod).items()},
        windows=list(_windows(snapshot, row, settings, cluster.now)),
        elsewhere=list(_elsewhere(snapshot, staying)),
        pods=[_pod(cluster, pod) for pod in pods],
    )


def _pods(snapshot: ClusterSnapshot, row: int) -> list[int]:
    """The pods of a workload and of those below it, by name."""
    pods = snapshot.pods.indices()
    owners = snapshot.pods.owner[pods]
    mine: list[int] = pods[(owners >= 0) & snapshot.workloads.below(row)[owners]].tolist()
    return sorted(mine, key=lambda pod: snapshot.pods.keys[pod])


def _pod(cluster: Dump, pod: int) -> PodOfWorkload:
    snapshot, table = cluster.snapshot, cluster.snapshot.pods
    why = protection(snapshot, pod, cluster.now)
    requests = snapshot.shape_of_pod(pod).requests
    return PodOfWorkload(
        pod=table.keys[pod],
        node=place(snapshot, pod),
        phase=PHASES[table.phase[pod]],
        cpu=requests.get("cpu", 0),
        memory=requests.get("memory", 0),
        cpu_used=measured(table.usage_cpu[pod]),
        memory_used=measured(table.usage_memory[pod]),
        protected=None if why is None else why.message,
    )


def _windows(snapshot: ClusterSnapshot, row: int, settings: Sequence[Setting], now: float) -> Iterator[Window]:
    """The first rule that is about the workload, or about each of those below it."""
    below = snapshot.workloads.below(row)
    for spec in (each.spec for each in settings if isinstance(each.spec, TimeWindowsSpec) and each.spec.rules):
        rules = dict(zip(spec.names(), spec.rules, strict=True))
        found = census(snapshot, frozenset(kind for rule in spec.rules for kind in rule.selector.kinds))
        under = [
            (
                work,
                next((name for name, rule in rules.items() if selects(rule.selector, work.ref, work.standing)), None),
            )
            for work in found.work
        ]
        offline = offline_pods(snapshot, found, [work.row for work, name in under if name is not None])
        for work, name in under:
            if name is None or not below[work.row]:
                continue
            rule = rules[name]
            busy = nan if rule.valley is None else load(snapshot, rule.valley, offline, now)
            state = state_of(name, rule, busy, None, now)
            yield Window(name, str(work.ref), state.open, state.reason.message)


def _elsewhere(snapshot: ClusterSnapshot, pods: Sequence[int]) -> Iterator[Elsewhere]:
    """For each kind of pod, where one of them could go."""
    cls = snapshot.pods.cls
    of_class = Counter(int(cls[pod]) for pod in pods)
    first = {int(cls[pod]): pod for pod in reversed(pods)}
    judged = [
        (count, first[each], explain_placement(snapshot, first[each], DEFAULT)) for each, count in of_class.items()
    ]
    while judged:
        _, pod, found = judged[0]
        alike = [each for each in judged if (each[2].feasible, each[2].refused) == (found.feasible, found.refused)]
        judged = [each for each in judged if each not in alike]
        yield Elsewhere(
            sum(count for count, *_ in alike), snapshot.pods.keys[pod], found.feasible, found.nodes, found.refused
        )


def _rows(snapshot: ClusterSnapshot, name: str) -> list[int]:
    """The workloads that a name can mean; of one chain that has one name throughout, the top."""
    *before, short = name.split("/")
    refs = snapshot.workloads.refs
    rows = [row for row, ref in enumerate(refs) if ref.name == short and all(_fits(part, ref) for part in before)]
    return [row for row in rows if int(snapshot.workloads.columns.parent[row]) not in rows]


def _fits(part: str, ref: Ref) -> bool:
    return part == ref.namespace or _kind(part) == ref.kind


def _kind(part: str) -> str:
    """A kind as it is spelt, from `deployment` or `deployments`; empty where it is none."""
    plain = part.lower()
    return next((kind for kind in KINDS if plain in (kind.lower(), f"{kind.lower()}s")), "")


def _named(name: str) -> list[Ref]:
    """What a name can mean where there is no cluster to look at."""
    *before, short = name.split("/")
    kinds = [_kind(part) for part in before if _kind(part)] or KINDS
    namespace = next((part for part in before if not _kind(part)), "")
    return [Ref(kind, short, namespace) for kind in kinds]


def _path(ref: Ref) -> str:
    return f"{ref.kind.lower()}/{ref.namespace}/{ref.name}"


def _print_tables(explanation: WorkloadExplanation) -> None:
    facts: dict[str, Any] = {
        name: getattr(explanation, name)
        for name in ("owner", "state", "wanted", "phases", "qos", "bands", "disruption_budgets")
    }
    facts["requests"] = {name: readable(name, amount) for name, amount in explanation.requests.items()}
    emit(facts, "table", title=explanation.workload)
    if explanation.windows:
        emit(explanation.windows, "table", title="windows")
    pods = [
        msgspec.structs.asdict(each)
        | {name: readable(name.removesuffix("_used"), getattr(each, name)) for name in _AMOUNTS}
        for each in explanation.pods
    ]
    if pods:
        emit(pods, "table", title=f"pods ({len(pods)})")
    for each in explanation.elsewhere:
        where = f"{each.pods} pods such as {each.such_as}: {each.feasible} of {each.nodes} nodes can take one"
        if each.refused:
            emit(each.refused, "table", title=f"{where}; refused")
        else:
            print(where)


_AMOUNTS = ("cpu", "memory", "cpu_used", "memory_used")
