"""`neaptide explain pod`: why a pod is where it is, where else it could be, why not elsewhere, and who would touch it."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from neaptide.cli.amounts import readable
from neaptide.cli.dump import Dump
from neaptide.cli.exits import UsageError
from neaptide.cli.explained import LIVE, Sources, conclude, explained, find_node, known, measured, missing
from neaptide.cli.live_plan import LivePlan
from neaptide.cli.output import Output, emit
from neaptide.cli.verdicts import PlacementExplanation, explain_placement
from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, ORPHAN, PHASES, SUCCEEDED
from neaptide.model.problems import FieldError
from neaptide.model.qos import Band, QoS
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.profile import DEFAULT, Profile, read_profile
from neaptide.policies.protection import protection


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
    sources: Annotated[Sources, Parameter(name="*")] = LIVE,
    node: tuple[str, ...] = (),
    profile: str | None = None,
    output: Output = "table",
) -> int:
    """Explain a pod.

    Args:
        name: the pod as NAMESPACE/NAME, or its name alone where no other pod has it.
        sources: what is looked at.
        node: say also why it could go to this node, or why not; may be repeated.
        profile: a scheduling profile (YAML); by default kube-scheduler's filters and scores.
        output: table for people; json or yaml for programs.
    """
    placing, looked, facts = _profile(profile), sources.look(), None
    namespace, _, short = name.rpartition("/")
    wanted = [Ref("Pod", short, namespace)]
    if looked is not None:
        snapshot = looked.cluster.snapshot
        pod = find_pod(sources, looked, name)
        asked = [find_node(sources, looked, each) for each in node]
        facts = explanation_of(looked.cluster, pod, placing, asked)
        wanted = [ref for ref in (snapshot.pod_ref(pod), snapshot.workload_of(pod)) if ref is not None]
    found = explained(sources, "pod", looked, facts, wanted)
    if output == "table" and facts is not None:
        _print_tables(facts)
    return conclude(found, output)


def find_pod(sources: Sources, looked: LivePlan, name: str) -> int:
    """The row of a pod named `namespace/name`, or `name` where only one has it. Raises UsageError."""
    keys = looked.cluster.snapshot.pods.by_key
    found = [name] if name in keys else [key for key in keys if key.partition("/")[2] == name]
    if not found:
        raise missing(sources, looked, f"pod {name!r}", keys, name if "/" in name else f"default/{name}")
    if len(found) > 1:
        raise UsageError(f"{sources.where}: several pods are named {name!r}; accepted: {known(found, '')}")
    return keys[found[0]]


def explanation_of(cluster: Dump, pod: int, profile: Profile, asked: list[int]) -> PodExplanation:
    """Everything that a dump says of a pod (its row), and of how it would fare on the nodes asked for (their rows)."""
    snapshot, pods = cluster.snapshot, cluster.snapshot.pods
    workload = snapshot.workload_of(pod)
    why = protection(snapshot, pod, cluster.now)
    finished = pods.phase[pod] in (SUCCEEDED, FAILED)
    return PodExplanation(
        pod=pods.keys[pod],
        node=place(snapshot, pod),
        phase=PHASES[pods.phase[pod]],
        workload=None if workload is None else str(workload),
        qos=QoS(snapshot.classes.qos[pods.cls[pod]]).name,
        band=Band(pods.band[pod]).name.lower(),
        priority=int(pods.priority[pod]),
        same_class=int((pods.cls[pods.indices()] == pods.cls[pod]).sum()),
        requests=dict(snapshot.shape_of_pod(pod).requests),
        used={"cpu": measured(pods.usage_cpu[pod]), "memory": measured(pods.usage_memory[pod])},
        protected=None if why is None else f"{why.code}: {why.message}",
        disruption_budgets=budgets(snapshot, pod),
        placement=None if finished else explain_placement(snapshot, pod, profile, asked),
    )


def budgets(snapshot: ClusterSnapshot, pod: int) -> dict[str, int]:
    """By name, the disruption budgets that select a pod, with the disruptions that each still allows."""
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


def place(snapshot: ClusterSnapshot, pod: int) -> str | None:
    """The name of a pod's node, also where the node itself is not in the dump."""
    node = int(snapshot.pods.node[pod])
    if node == ORPHAN:
        return next(name for name, waiting in snapshot.pods.orphans.items() if pod in waiting)
    return snapshot.nodes.names[node] if node >= 0 else None


def _print_tables(explanation: PodExplanation) -> None:
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
