"""The policy `interference`: findings of agents go into the journal, and a service moves only where that helps."""

from typing import Any

import msgspec
import pytest
from tests.builders import node, pod

from neaptide.model.actions import Evict, Plan
from neaptide.model.node_metric import FINDINGS, OBJECTIVE, NodeMetric
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.interference import Interference, InterferenceMemory, InterferenceSpec

NOW, STAMP = 1_800_000_000.0, "2027-01-15T08:00:00Z"
MOVE = {"step": "MOVE", "culprit": "", "evidence": "wait 60, above 10, and nobody beside it is to blame"}


def cluster(findings: dict[str, Any], *, pods: int = 4, stamp: str = STAMP, **of_pod: Any) -> ClusterSnapshot:
    """Pods of one workload, a node each, with what agents found about some of them."""
    snapshot = ClusterSnapshot()
    for number in range(pods):
        snapshot.set(node(f"n{number}"))
        snapshot.set(pod(f"web-{number}", node=f"n{number}", cpu="1", **of_pod))
    for name, found in findings.items():
        metric = {"name": f"web-{name}", "namespace": "default", "extensions": {FINDINGS: found}}
        value = {"metadata": {"name": f"n{name}"}, "status": {"updateTime": stamp, "podsMetric": [metric]}}
        snapshot.set(msgspec.convert(value, NodeMetric))
    return snapshot


def plan(
    snapshot: ClusterSnapshot, memory: InterferenceMemory | None = None, now: float = NOW
) -> tuple[Plan, InterferenceMemory]:
    return Interference().plan(snapshot, InterferenceSpec(), memory or InterferenceMemory(), now)


def codes(found: Plan) -> list[str]:
    return [each.reason.code for each in found.declined]


def test_a_service_that_nobody_beside_it_disturbs_is_moved_with_the_evidence() -> None:
    found, memory = plan(cluster({"1": MOVE}))
    (action,) = found.actions
    assert isinstance(action, Evict)
    assert (action.target.name, action.node, str(action.workload)) == ("web-1", "n1", "ReplicaSet default/web")
    assert action.reason.message == "it suffers on n1: wait 60, above 10, and nobody beside it is to blame"
    again, _ = plan(cluster({"2": MOVE}), memory, NOW + 60)
    assert (again.actions, codes(again)) == ((), ["MovedLately"])
    later, _ = plan(cluster({"2": MOVE}), memory, NOW + 700 - 600)
    assert later.actions == ()


def test_a_service_slower_than_its_objective_is_told_to_the_journal_and_stays() -> None:
    snapshot = cluster({})
    for name, latency in (("1", 0.03), ("2", 0.01)):
        told = {OBJECTIVE: {"seconds": latency, "objective": 0.02, "quantile": 0.99}}
        metric = {"name": f"web-{name}", "namespace": "default", "extensions": told}
        value = {"metadata": {"name": f"n{name}"}, "status": {"updateTime": STAMP, "podsMetric": [metric]}}
        snapshot.set(msgspec.convert(value, NodeMetric))
    found, _ = plan(snapshot)
    assert found.actions == ()
    assert [(each.target.name, each.reason.code) for each in found.declined] == [("web-1", "BelowObjective")]
    assert found.declined[0].reason.message.startswith("p99 is 30 ms where 20 ms are wanted")


def test_after_the_pause_another_one_may_move() -> None:
    _, memory = plan(cluster({"1": MOVE}))
    late = "2027-01-15T08:10:00Z"
    assert len(plan(cluster({"2": MOVE}, stamp=late), memory, NOW + 600)[0].actions) == 1


@pytest.mark.parametrize("step", ["SUPPRESS", "THROTTLE_DISK", "EVICT"])
def test_what_the_agent_did_itself_is_told_and_not_done_again(step: str) -> None:
    found, _ = plan(cluster({"1": {"step": step, "culprit": "default/job", "evidence": "wait 60"}}))
    assert found.actions == ()
    assert found.declined[0].reason.message == f"the node's agent took the step {step} against default/job: wait 60"


def test_where_most_twins_suffer_it_is_load_and_nobody_moves() -> None:
    found, _ = plan(cluster({"0": MOVE, "1": MOVE}))
    assert (found.actions, codes(found)) == ((), ["Load", "Load"])


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        (cluster({"1": MOVE}, stamp="2027-01-15T07:50:00Z"), []),
        (cluster({"1": MOVE}, stamp="yesterday"), []),
        (cluster({"1": {"step": 7}}), []),
        (cluster({"9": MOVE}), []),
        (cluster({"1": MOVE}, annotations={"karpenter.sh/do-not-disrupt": "true"}), ["DoNotDisrupt"]),
        (cluster({"1": MOVE}, owner=None), ["NotReplicated"]),
    ],
    ids=["old", "no time", "not a finding", "a pod that is not there", "protected", "nobody would start it again"],
)
def test_nobody_moves_on_what_is_not_known_well_or_where_it_must_not(
    snapshot: ClusterSnapshot, expected: list[str]
) -> None:
    found, _ = plan(snapshot)
    assert (found.actions, codes(found)) == ((), expected)


def test_memory_survives_as_json() -> None:
    _, memory = plan(cluster({"1": MOVE}))
    assert msgspec.json.decode(msgspec.json.encode(memory), type=InterferenceMemory) == memory
