"""Nodes that protected pods hold stop filling where that is cheaper, and go the moment the last of those pods ends."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.builders import node, pod

from neaptide.loop import LoopMemory, checkpoint, restore
from neaptide.model import objects as o
from neaptide.model.actions import (
    Annotate,
    AnyAction,
    Checkpoint,
    Cordon,
    DeleteNode,
    Evict,
    Plan,
    Taint,
    Uncordon,
    Untaint,
)
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.arbiter import ArbiterMemory, Budgets, arbitrate
from neaptide.policies.checkpoint import COMMAND, CONTAINER
from neaptide.policies.protected import NAME, TAINT, Protected, ProtectedMemory
from neaptide.policies.protected_grace import TERMINATES_AT
from neaptide.policies.protected_spec import ProtectedSpec

START = "2027-01-15T08:00:00Z"
NOW = 1_800_000_000.0 + 600
LONG_AGO = "2026-11-15T08:00:00Z"
KEEP = {"karpenter.sh/do-not-disrupt": "true"}


def job(name: str, on: str, **fields: Any) -> o.Pod:
    return pod(
        name, node=on, annotations=fields.pop("annotations", KEEP), owner=("Job", fields.pop("job", "train")), started=fields.pop("started", START),
        **{"cpu": "1", "memory": "1Gi", **fields},
    )  # fmt: skip


def web(name: str, on: str, cpu: str = "1") -> o.Pod:
    return pod(name, node=on, cpu=cpu, memory="1Gi", started="2027-01-14T08:00:00Z")


class Cluster:
    """Nodes of 4 cores at 1 USD/h, and one more, `host`, that is held longest and so never stops."""

    def __init__(self, *pods: o.Pod, nodes: int = 3, **spec: Any) -> None:
        self.snapshot, self.memory, self.now = ClusterSnapshot(), ProtectedMemory(), NOW
        self.spec = msgspec.convert({"keepFillingPercent": 0, **spec}, ProtectedSpec)
        for number in range(nodes):
            self.put(node(f"n{number}", labels={"karpenter.sh/nodepool": "work"}))
        self.put(node("host"))
        for each in (job("anchor", "host", job="anchor", started=LONG_AGO, cpu="2"), *pods):
            self.snapshot.set(each)

    def put(self, made: o.Node) -> None:
        self.snapshot.set_price(self.snapshot.set_node(made), 1.0)

    def plan(self) -> Plan:
        plan, self.memory = Protected().plan(self.snapshot, self.spec, self.memory, self.now)
        return plan

    def kinds(self) -> list[tuple[str, str]]:
        return [(type(each).__name__, each.target.name) for each in self.plan().actions]

    def arriving(self, count: int = 20, seconds: float = 3600.0) -> "Cluster":
        """Protected pods came so often of late, and ran so long."""
        came = tuple(self.now - 3000 + number for number in range(count))
        runs = {"Job default/other": (seconds,) * 3}
        running = {
            "Job default/train": tuple(
                [1_800_000_000.0] * sum("train" in str(self.snapshot.workload_of(p)) for p in self.rows())
            )
        }
        history = replace_history(self.memory, runs=runs, arrivals=came, since=self.now - 3600, running=running)
        self.memory = history
        return self

    def rows(self) -> list[int]:
        return [int(each) for each in self.snapshot.pods.indices()]

    def mark(self, name: str, *, since: float, **changes: Any) -> None:
        taint = o.Taint(TAINT, f"neaptide.{since:.0f}", "NoSchedule")
        self.put(node(name, labels={"karpenter.sh/nodepool": "work"}, taints=(taint,), **changes))


def replace_history(memory: ProtectedMemory, **fields: Any) -> ProtectedMemory:
    return ProtectedMemory(replace(memory.history, **fields), memory.decided)


def said(plan: Plan) -> dict[str, str]:
    return {each.target.name: each.reason.code for each in plan.declined if each.target.name != "host"}


def test_a_node_that_others_would_hold_longer_stops_filling() -> None:
    cluster = Cluster(job("a", "n0")).arriving()
    (action,) = cluster.plan().actions
    assert isinstance(action, Taint)
    assert (action.target.name, action.key, action.effect) == ("n0", TAINT, "NoSchedule")
    assert "filling on is expected to cost" in action.reason.message


def test_where_nothing_needs_the_room_a_node_stops_before_anything_has_come() -> None:
    assert Cluster(job("a", "n0")).kinds() == [("Taint", "n0")]


def test_where_room_is_scarce_and_the_hold_is_long_the_node_is_packed_on_with_the_reason() -> None:
    long_ago = "2026-12-15T08:00:00Z"
    cluster = Cluster(job("a", "n0", started=long_ago), pod("waits", cpu="64", memory="1Gi"), nodes=1).arriving(
        seconds=600.0
    )
    plan = cluster.plan()
    assert (plan.actions, said(plan)) == ((), {"n0": "KeepPacking"})
    assert "outlasts" in plan.declined[-1].reason.message


def test_new_protected_pods_keep_the_nodes_that_are_held_longest() -> None:
    cluster = Cluster(
        job("a", "n0", job="short"), job("b", "n1", started="2026-12-15T08:00:00Z"), keepFillingPercent=50
    )
    plan = cluster.arriving().plan()
    assert [(type(each).__name__, each.target.name) for each in plan.actions] == [("Taint", "n0")]
    assert said(plan) == {"n1": "Host"}


@pytest.mark.parametrize(
    "annotations",
    [{"karpenter.sh/do-not-disrupt": "true"}, {"cluster-autoscaler.kubernetes.io/scale-down-disabled": "true"}],
)
def test_a_node_that_is_kept_itself_is_left_alone(annotations: dict[str, str]) -> None:
    cluster = Cluster(job("a", "n0")).arriving()
    cluster.put(node("n0", annotations=annotations))
    assert said(cluster.plan()) == {"n0": "NodeKept"}


@pytest.mark.parametrize(
    ("annotations", "holds"),
    [
        ({"karpenter.sh/do-not-disrupt": "true"}, True),
        ({"karpenter.sh/do-not-disrupt": "2h"}, True),
        ({"karpenter.sh/do-not-disrupt": "1m"}, False),
        ({"karpenter.sh/do-not-disrupt": "soon"}, False),
        ({"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}, True),
        ({"cluster-autoscaler.kubernetes.io/safe-to-evict": "on-completion"}, True),
        ({"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}, False),
    ],
)
def test_what_holds_a_node(annotations: dict[str, str], *, holds: bool) -> None:
    held = pod("a", node="n0", annotations=annotations, owner=("Job", "train"), started=START)
    assert bool(Cluster(held).arriving().plan().actions) == holds


def test_a_stopped_node_is_emptied_and_given_back_when_its_last_protected_pod_has_ended() -> None:
    cluster = Cluster(web("w", "n0"))
    cluster.mark("n0", since=NOW - 900)
    (eviction,) = cluster.plan().actions
    assert isinstance(eviction, Evict)
    cluster.snapshot.unassign(cluster.snapshot.pods.by_key["default/w"])
    cluster.snapshot.assign(cluster.snapshot.pods.by_key["default/w"], 1)
    assert cluster.kinds() == [("DeleteNode", "n0")]


def test_a_stopped_node_whose_pods_have_no_room_elsewhere_is_filled_again() -> None:
    cluster = Cluster(web("w", "n0", "3"), web("x", "n1", "4"), web("y", "n2", "4"))
    cluster.mark("n0", since=NOW - 900)
    (action,) = cluster.plan().actions
    assert (type(action), action.reason.code) == (Untaint, "NoRoom")


def test_a_protected_pod_that_lands_before_the_taint_keeps_its_node() -> None:
    cluster = Cluster(web("w", "n0"))
    cluster.mark("n0", since=NOW - 900)
    (eviction,) = cluster.plan().actions
    cluster.snapshot.set(job("late", "n0"))
    plan = cluster.plan()
    assert not [each for each in plan.actions if isinstance(each, Evict | DeleteNode)]
    granted, refused = arbitrate(
        [Plan(NAME, (DeleteNode(policy=NAME, target=cluster.snapshot.node_ref(0), reason=eviction.reason),))],
        cluster.snapshot, Budgets(), ArbiterMemory(), NOW,
    )  # fmt: skip
    assert (granted, [each.reason.code for each in refused]) == ([], ["NotEmpty"])


def test_no_taint_of_ours_is_forgotten_whatever_was_lost() -> None:
    cluster = Cluster()
    cluster.mark("n1", since=NOW - 900)
    assert cluster.kinds() == [("DeleteNode", "n1")]
    kept = Cluster(release=False)
    kept.mark("n1", since=NOW - 900)
    assert kept.kinds() == [("Untaint", "n1")]
    assert not Cluster().plan().actions


def test_a_decision_stands_for_a_while() -> None:
    cluster = Cluster(job("a", "n0")).arriving()
    assert cluster.kinds() == [("Taint", "n0")]
    cluster.mark("n0", since=cluster.now)
    cluster.memory = replace_history(cluster.memory, arrivals=())
    cluster.now += 60
    assert cluster.kinds() == []


def test_a_stopped_node_is_cordoned_where_that_is_wanted_and_uncordoned_before_the_taint_goes() -> None:
    cluster = Cluster(job("a", "n0"), cordon=True, release=False).arriving()
    cluster.mark("n0", since=NOW - 900)
    assert cluster.kinds() == [("Cordon", "n0")]
    cluster.mark("n0", since=NOW - 900, unschedulable=True)
    cluster.snapshot.remove_pod("default/a")
    assert [type(each) for each in cluster.plan().actions] == [Uncordon]


def test_the_end_is_said_ahead_asked_for_and_forced_at_last() -> None:
    cluster = Cluster(
        job("a", "n0"), grace={"pools": {"work": 3600}, "askSeconds": 300, "ignoreBudgets": True}
    ).arriving()
    cluster.mark("n0", since=NOW)
    (announced,) = cluster.plan().actions
    assert isinstance(announced, Annotate)
    assert announced.key == TERMINATES_AT
    assert "default/a" in announced.reason.message
    cluster.mark("n0", since=NOW, annotations={TERMINATES_AT: announced.value})
    cluster.now = NOW + 3200
    assert cluster.plan().actions == ()
    cluster.now = NOW + 3400
    (asked,) = cluster.plan().actions
    assert isinstance(asked, Evict)
    assert (asked.forced, asked.past_budgets, asked.grace_seconds) == (True, True, 200.0)
    granted, _ = arbitrate([Plan(NAME, (asked,))], cluster.snapshot, Budgets(), ArbiterMemory(), cluster.now)
    assert granted == [asked]


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({}, Checkpoint(("save",), "tool", 60.0)),
        ({COMMAND: '["own", "-x"]'}, Checkpoint(("own", "-x"), "", 60.0)),
        ({COMMAND: '["own"]', CONTAINER: "side"}, Checkpoint(("own",), "side", 60.0)),
        ({COMMAND: "no list"}, Checkpoint(("save",), "tool", 60.0)),
    ],
    ids=["the policy's", "the pod's own", "in a container of its choice", "one that cannot be read"],
)
def test_work_is_saved_before_a_pod_is_told_to_end(annotations: dict[str, str], wanted: Checkpoint) -> None:
    hook = {"command": ["save"], "container": "tool", "seconds": 60}
    cluster = Cluster(
        job("a", "n0", annotations=KEEP | annotations),
        grace={"terminationSeconds": 3600, "askSeconds": 300, "checkpoint": hook},
    ).arriving()
    cluster.mark("n0", since=NOW, annotations={TERMINATES_AT: "2027-01-15T09:10:00Z"})
    cluster.now = NOW + 3400
    (asked,) = cluster.plan().actions
    assert isinstance(asked, Evict)
    assert asked.checkpoint == wanted
    cluster.now = NOW + 3560
    (late,) = cluster.plan().actions
    assert isinstance(late, Evict)
    assert late.checkpoint is not None
    assert late.checkpoint.seconds == 20.0


def test_without_a_grace_nothing_protected_is_ever_touched() -> None:
    cluster = Cluster(job("a", "n0")).arriving()
    cluster.mark("n0", since=NOW - 1e6)
    touching: list[type[AnyAction]] = [Evict, DeleteNode]
    assert not [each for each in cluster.plan().actions if type(each) in touching]


def test_what_is_remembered_survives_a_restart() -> None:
    cluster = Cluster(job("a", "n0")).arriving()
    cluster.plan()
    saved = checkpoint(LoopMemory({NAME: cluster.memory}))
    assert restore(saved, {NAME: Protected()}).policies[NAME] == cluster.memory


def test_run_times_are_learnt_by_workload_from_pods_that_end() -> None:
    cluster = Cluster(job("a", "n0", job="train-1"))
    cluster.plan()
    cluster.snapshot.remove_pod("default/a")
    cluster.now += 60
    cluster.plan()
    assert cluster.memory.history.runs == {"Job default/train": (660.0,)}


def test_pods_cannot_be_asked_before_there_is_anything_to_ask_for() -> None:
    with pytest.raises((FieldError, msgspec.ValidationError), match=r"grace\.askSeconds: 120\.0 is not accepted"):
        msgspec.convert({"grace": {"terminationSeconds": 60}}, ProtectedSpec)


def test_a_cordon_is_asked_for_once() -> None:
    cluster = Cluster(job("a", "n0"), cordon=True).arriving()
    cluster.mark("n0", since=NOW - 900, unschedulable=True)
    assert not [each for each in cluster.plan().actions if isinstance(each, Cordon)]
