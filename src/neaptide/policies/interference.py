"""Policy `interference`: what nodes' agents found about services that suffer goes into the journal, and who must go elsewhere is moved.

An agent suppresses and evicts on its own node within seconds (agent/interference.py) and says so in the service's metric. Where nobody beside the service is to blame, or
everything else was tried, the service's pod is evicted through the arbiter, so that it starts elsewhere; not where most of its twins suffer at the same time, for then the
service has more to do, and no other node would help.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from neaptide.model.actions import Declined, Effect, Evict, Plan, Reason, Ref
from neaptide.model.node_metric import FINDINGS, OBJECTIVE, NodeMetric, Objective
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protection import protection

Kind = TypeVar("Kind")
NAME = "interference"
_EXPECTED = Effect(risk=0.2)
_Seconds = Annotated[float, Meta(ge=0, le=10**9, description="seconds from 0 to 1000000000")]
_Part = Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1")]


class InterferenceSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When a service that suffers is moved.

    Attributes:
        metric_age_seconds: what an agent said longer ago is not believed.
        twins: where this part of a workload's pods suffer at once, it is load and nobody is moved.
        pause_seconds: between two moves of one workload's pods.
    """

    metric_age_seconds: _Seconds = 180.0
    twins: _Part = 0.5
    pause_seconds: _Seconds = 600.0


class InterferenceMemory(Struct):
    """When a pod of a workload was last moved, by the workload."""

    moved: dict[str, float] = field(default_factory=dict)


class Finding(Struct, frozen=True):
    """What an agent found about a pod."""

    step: str = ""
    culprit: str = ""
    evidence: str = ""


class Interference:
    """The policy."""

    name = NAME
    spec_type = InterferenceSpec
    memory_type = InterferenceMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: InterferenceSpec,
        memory: InterferenceMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, InterferenceMemory]:
        """Evictions of services that are to start elsewhere; every other finding with what its agent did."""
        suffering = list(told_of(snapshot, spec.metric_age_seconds, now, FINDINGS, Finding))
        by_workload: defaultdict[str, int] = defaultdict(int)
        for pod, _ in suffering:
            by_workload[str(_workload(snapshot, pod))] += 1
        moved = {key: time for key, time in memory.moved.items() if now - time < spec.pause_seconds}
        actions: list[Evict] = []
        declined: list[Declined] = []
        for pod, found in suffering:
            target, workload = snapshot.pod_ref(pod), _workload(snapshot, pod)
            if not covers(target):
                continue
            key = str(workload)
            why_not = Reason(f"Node{found.step.title().replace('_', '')}", account(found))
            if found.step == "MOVE":
                alike = by_workload[key] / max(_pods_of(snapshot, pod), 1)
                kept = protection(snapshot, pod, now) or _kept(spec, alike, by_workload[key], key in moved)
                if kept is None:
                    moved[key] = now
                    node = snapshot.nodes.names[int(snapshot.pods.node[pod])]
                    reason = Reason("Interference", f"it suffers on {node}: {found.evidence}")
                    actions.append(
                        Evict(
                            policy=NAME, target=target, reason=reason, expected=_EXPECTED, node=node, workload=workload
                        )
                    )
                    continue
                why_not = kept
            declined.append(Declined(target, why_not))
        declined += _below_objective(snapshot, spec, now, covers)
        return Plan(NAME, tuple(actions), tuple(declined)), InterferenceMemory(moved)


def _kept(spec: InterferenceSpec, alike: float, number: int, moved: bool) -> Reason | None:
    """Why a pod that suffers stays where it is."""
    if number > 1 and alike >= spec.twins:
        return Reason(
            "Load", f"{number} pods of its workload suffer at once: it has more to do, and would have elsewhere"
        )
    if moved:
        return Reason("MovedLately", f"a pod of its workload was moved less than {spec.pause_seconds:g} s ago")
    return None


def account(found: Finding) -> str:
    """What the agent did, and why."""
    against = f" against {found.culprit}" if found.culprit else ""
    return f"the node's agent took the step {found.step}{against}: {found.evidence}"


def _below_objective(
    snapshot: ClusterSnapshot, spec: InterferenceSpec, now: float, covers: Covers
) -> Iterator[Declined]:
    """The services that are slower than their objective, for the journal: their nodes' agents shrink the offline work beside them."""
    for pod, found in told_of(snapshot, spec.metric_age_seconds, now, OBJECTIVE, Objective):
        target = snapshot.pod_ref(pod)
        if found.seconds > found.objective and covers(target):
            yield Declined(target, Reason("BelowObjective", f"{found}; offline work on its node shrinks"))


def told_of(
    snapshot: ClusterSnapshot, age: float, now: float, name: str, kind: type[Kind]
) -> Iterator[tuple[int, Kind]]:
    """The pods (rows) about which an agent has said something within the last `age` seconds, under a name (extension) of a kind."""
    metric: NodeMetric
    for node, metric in snapshot.others.get("NodeMetric", {}).items():
        told = [each for each in metric.status.pods_metric if name in each.extensions]
        if not told or not metric.is_recent(age, now):
            continue
        for each in told:
            pod = snapshot.pods.by_key.get(f"{each.namespace}/{each.name}")
            if pod is None or snapshot.nodes.by_name.get(node) != int(snapshot.pods.node[pod]):
                continue
            try:
                yield pod, msgspec.convert(each.extensions[name], kind)
            except msgspec.ValidationError:
                continue


def _workload(snapshot: ClusterSnapshot, pod: int) -> Ref | None:
    return snapshot.workload_of(pod)


def _pods_of(snapshot: ClusterSnapshot, pod: int) -> int:
    """How many pods the owner of a pod has on nodes."""
    pods = snapshot.pods
    owner = int(pods.owner[pod])
    if owner < 0:
        return 1
    return int(((pods.owner[: pods.rows] == owner) & (pods.node[: pods.rows] >= 0)).sum())
