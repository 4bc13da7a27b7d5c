"""Pods that ask to be left alone are left alone, in the words of Karpenter and cluster-autoscaler."""

import math

import pytest
from tests.builders import node, pod

from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import go_duration
from neaptide.policies.protection import (
    DO_NOT_DISRUPT,
    SAFE_TO_EVICT,
    SOFT_EVICTION,
    annotated_protection,
    come_with_node,
    comes_with_node,
    protection,
)

STARTED = 1000.0


@pytest.mark.parametrize(
    ("annotations", "started", "now", "code"),
    [
        ({}, STARTED, STARTED, None),
        ({DO_NOT_DISRUPT: "true"}, STARTED, 1e9, "DoNotDisrupt"),
        ({DO_NOT_DISRUPT: "false"}, STARTED, STARTED, None),
        ({DO_NOT_DISRUPT: "15m"}, STARTED, STARTED + 899, "DoNotDisrupt"),
        ({DO_NOT_DISRUPT: "15m"}, STARTED, STARTED + 900, None),
        ({DO_NOT_DISRUPT: "15m"}, math.nan, 1e9, "DoNotDisrupt"),
        ({DO_NOT_DISRUPT: "15 minutes"}, STARTED, STARTED, None),
        ({DO_NOT_DISRUPT: "-15m"}, STARTED, STARTED, None),
        ({SAFE_TO_EVICT: "false"}, STARTED, 1e9, "NotSafeToEvict"),
        ({SAFE_TO_EVICT: "on-completion"}, STARTED, 1e9, "NotSafeToEvict"),
        ({SAFE_TO_EVICT: "true"}, STARTED, STARTED, None),
        ({SOFT_EVICTION: "true"}, STARTED, 1e9, "SoftEviction"),
        ({SOFT_EVICTION: '{"initiator": "LowNodeLoad", "reason": "hot"}'}, STARTED, 1e9, "SoftEviction"),
        ({SOFT_EVICTION: "false"}, STARTED, 1e9, None),
    ],
)
def test_annotations_protect_as_their_owners_say(
    annotations: dict[str, str], started: float, now: float, code: str | None
) -> None:
    reason = annotated_protection(annotations, started, now)
    assert (reason.code if reason else None) == code


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("100ms", 0.1),
        ("0", 0.0),
        ("-5s", -5.0),
        ("", None),
        ("5", None),
        ("5m!", None),
    ],
)
def test_a_go_duration_is_read_whole_or_not_at_all(text: str, seconds: float | None) -> None:
    assert go_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("owner", "priority", "annotations", "code"),
    [
        (("ReplicaSet", "web"), 0, {}, None),
        (None, 0, {}, "NotReplicated"),
        (None, 0, {SAFE_TO_EVICT: "true"}, None),
        (("DaemonSet", "logs"), 0, {}, "DaemonSet"),
        (("ReplicaSet", "dns"), 2_000_000_000, {}, "SystemCritical"),
    ],
)
def test_pods_that_would_not_come_back_elsewhere_are_protected(
    owner: tuple[str, str] | None, priority: int, annotations: dict[str, str], code: str | None
) -> None:
    snapshot = ClusterSnapshot()
    row = snapshot.set_pod(pod("p", node="n", owner=owner, annotations=annotations, spec={"priority": priority}))
    reason = protection(snapshot, row, 2e9)
    assert (reason.code if reason else None) == code


def test_many_pods_come_with_their_nodes_where_each_of_them_does() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(node("n"))
    owners = (("DaemonSet", "logs"), ("ReplicaSet", "web"), None)
    snapshot.add_pods([pod(f"p{number}", node="n", owner=owner) for number, owner in enumerate(owners)])
    snapshot.add_pods([pod("static-n", node="n", owner=("Node", "n"))])
    pods = snapshot.pods.indices()
    assert come_with_node(snapshot, pods).tolist() == [True, False, False, True]
    assert [comes_with_node(snapshot, row) for row in pods.tolist()] == [True, False, False, True]
