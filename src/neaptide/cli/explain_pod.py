"""`neaptide explain pod`: why a pod is where it is, where else it could be, why not elsewhere, and who would touch it."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from neaptide.cli.amounts import readable
from neaptide.cli.dump import Dump, read_dump
from neaptide.cli.exits import UsageError
from neaptide.cli.explained import conclude, known, measured, print_decisions
from neaptide.cli.journal import Concerns, Decision, decisions, of_cycle
from neaptide.cli.output import Output, emit
from neaptide.cli.preview import preview
from neaptide.cli.settings import settings
from neaptide.cli.verdicts import PlacementExplanation, explain_placement
from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, ORPHAN, PHASES, SUCCEEDED
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.qos import Band, QoS
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.profile import DEFAULT, Profile, read_profile
from neaptide.policies.protection import protection
from neaptide.policies.registry import POLICIES


class PodExplanation(msgspec.Struct, frozen=True):
    """A pod as a dump shows it. Amounts are milli-CPU, bytes and counts.

    `same_class` counts the pods, this one included, that no filter or score can tell from it; `protected` says why it must
    not be evicted, None where it may be; `disruption_budgets` are those that select it, with the disruptions that each still
    allows; `placement` is None for a pod that has finished.
    """

    pod: str
    node: str | None
    phase: str
    workload: str | None
    qos: str
    band: str
    priority: int
    same_class: int
    requests: dict[str, int]
    used: dict[str, float | None]
    protected: str | None
    disruption_budgets: dict[str, int]
    placement: PlacementExplanation | None


def explain_pod(
    name: str,
    /,
    *,
    dump: str | None = None,
    journal: str | None = None,
    node: tuple[str, ...] = (),
    profile: str | None = None,
    policy: tuple[str, ...] = (),
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    usage: tuple[str, ...] = (),
    now: str | None = None,
    output: Output = "table",
) -> int:
    """Explain a pod.

    Args:
        name: the pod as NAMESPACE/NAME, or its name alone where no other pod has it.
        dump: the cluster: a file or a directory of objects as JSON or YAML, or - for standard input.
        journal: the directory of a loop's journal, for what was decided in the past.
        node: say also why it could go to this node, or why not; may be repeated.
        profile: a scheduling profile (YAML); by default kube-scheduler's filters and scores.
        policy: ask this policy only; may be repeated. By default all.
        set_: policy.field=value sets a field of a policy; may be repeated.
        usage: a further file with PodMetrics and NodeMetrics; may be repeated.
        now: the time to look at, as 2026-11-21T08:00:00Z; by default the newest time in the dump.
        output: table for people; json or yaml for programs.
    """
    if dump is None and journal is None:
        raise UsageError("explain pod needs --dump or --journal")
    chosen, placing = settings(POLICIES, policy, set_), _profile(profile)
    concerns, explanation = _named(name), None
    present: list[Decision] = []
    left_out: list[LeftOut] = []
    if dump is not None:
        cluster = read_dump(dump, usage=usage, now=now)
        snapshot, left_out = cluster.snapshot, cluster.left_out
        pod = find_pod(snapshot, name, dump)
        explanation = explanation_of(cluster, pod, placing, [_node_row(snapshot, each, dump) for each in node])
        concerns = _pod_and_workload(snapshot, pod)
        present = list(of_cycle(preview(cluster, chosen), concerns))
    past, damaged = decisions(journal, concerns) if journal is not None else ([], [])
    if output == "table":
        _print_tables(explanation, past + present)
    else:
        emit({"pod": explanation, "decisions": past + present, "left_out": damaged + left_out}, output)
    return conclude(damaged + left_out)


def find_pod(snapshot: ClusterSnapshot, name: str, where: str) -> int:
    """The row of a pod named `namespace/name`, or `name` where only one has it. Raises UsageError."""
    keys = snapshot.pods.by_key
    found = [name] if name in keys else [key for key in keys if key.partition("/")[2] == name]
    if not found:
        full = name if "/" in name else f"default/{name}"
        raise UsageError(f"{where}: no pod {name!r} is there; accepted: {known(keys, full)}")
    if len(found) > 1:
        raise UsageError(f"{where}: several pods are named {name!r}; accepted: {known(found, '')}")
    return keys[found[0]]


def explanation_of(cluster: Dump, pod: int, profile: Profile, asked: list[int]) -> PodExplanation:
    """Everything that a dump says of a pod (its row), and of how it would fare on the nodes asked for (their rows)."""
    snapshot, pods = cluster.snapshot, cluster.snapshot.pods
    workload = snapshot.workload_of(pod)
    why = protection(snapshot, pod, cluster.now)
    finished = pods.phase[pod] in (SUCCEEDED, FAILED)
    return PodExplanation(
        pod=pods.keys[pod],
        node=_place(snapshot, pod),
        phase=PHASES[pods.phase[pod]],
        workload=None if workload is None else str(workload),
        qos=QoS(snapshot.classes.qos[pods.cls[pod]]).name,
        band=Band(pods.band[pod]).name.lower(),
        priority=int(pods.priority[pod]),
        same_class=int((pods.cls[pods.indices()] == pods.cls[pod]).sum()),
        requests=dict(snapshot.shape_of_pod(pod).requests),
        used={"cpu": measured(pods.usage_cpu[pod]), "memory": measured(pods.usage_memory[pod])},
        protected=None if why is None else f"{why.code}: {why.message}",
        disruption_budgets=_budgets(snapshot, pod),
        placement=None if finished else explain_placement(snapshot, pod, profile, asked),
    )


def _budgets(snapshot: ClusterSnapshot, pod: int) -> dict[str, int]:
    labels, namespace = snapshot.pod_labels(pod), snapshot.pod_namespace(pod)
    return {
        each.metadata.name: each.status.disruptions_allowed
        for each in snapshot.others.get("PodDisruptionBudget", {}).values()
        if (each.metadata.namespace or "default") == namespace and labels_match(each.spec.selector, labels)
    }


def _profile(path: str | None) -> Profile:
    if path is None:
        return DEFAULT
    try:
        return read_profile(Path(path).read_text(encoding="utf-8"))
    except FieldError as error:
        raise UsageError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}; accepted: a scheduling profile in YAML") from error


def _node_row(snapshot: ClusterSnapshot, name: str, where: str) -> int:
    row = snapshot.nodes.by_name.get(name)
    if row is None:
        raise UsageError(f"{where}: no node {name!r} is there; accepted: {known(snapshot.nodes.by_name, name)}")
    return row


def _place(snapshot: ClusterSnapshot, pod: int) -> str | None:
    """The name of a pod's node, also where the node itself is not in the dump."""
    node = int(snapshot.pods.node[pod])
    if node == ORPHAN:
        return next(name for name, waiting in snapshot.pods.orphans.items() if pod in waiting)
    return snapshot.nodes.names[node] if node >= 0 else None


def _named(name: str) -> Concerns:
    namespace, _, short = name.rpartition("/")
    return lambda ref: ref.kind == "Pod" and ref.name == short and namespace in ("", ref.namespace)


def _pod_and_workload(snapshot: ClusterSnapshot, pod: int) -> Concerns:
    """Whether a name is that of a pod or of the workload that it belongs to."""

    def identity(ref: Ref) -> tuple[str, str, str]:
        return ref.kind, ref.namespace, ref.name

    workload = snapshot.workload_of(pod)
    names = {identity(ref) for ref in (snapshot.pod_ref(pod), workload) if ref is not None}
    return lambda ref: identity(ref) in names


def _print_tables(explanation: PodExplanation | None, found: list[Decision]) -> None:
    if explanation is not None:
        plain = msgspec.structs.asdict(explanation)
        placement = plain.pop("placement")
        facts: dict[str, Any] = plain | {
            name: {resource: readable(resource, amount) for resource, amount in plain[name].items()}
            for name in ("requests", "used")
        }
        facts["protected"] = explanation.protected or "no: it may be evicted"
        facts |= {"nodes": placement.summary()} if placement else {}
        emit(facts, "table", title=f"pod {explanation.pod}")
        if placement is not None:
            placement.print_tables()
    print_decisions(found)
