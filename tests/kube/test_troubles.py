"""Events about what goes wrong for co-location: unit tests of what is said and when, and one Event on a real control plane."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.builders import node, pod
from tests.kube.live import eventually
from tests.kube.test_colocation_metrics import BATCH
from tests.kube.test_controller import Replica
from tests.testbed.asking import done, items

from neaptide.kube.troubles import Told, troubles
from neaptide.model import objects as o
from neaptide.model.actions import Ref
from neaptide.model.node_metric import FINDINGS, OBJECTIVE, NodeMetric
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.testbed.cluster import Testbed

NOW = 1.8e9
LENDS = {"kubernetes.io/batch-cpu": "1000"}


def cluster() -> ClusterSnapshot:
    """A node that lends and is measured, with a service on it."""
    snapshot = ClusterSnapshot()
    row = snapshot.set_node(node("well", cpu="4", resources=LENDS))
    snapshot.nodes.created[row] = NOW - 3600
    snapshot.set_node_usage(row, 1.0, 1.0, NOW)
    snapshot.set(pod("web", node="well", cpu="1"))
    return snapshot


def ill(snapshot: ClusterSnapshot) -> None:
    conditions = (o.NodeCondition(type="Ready", status="False"),)
    snapshot.set(o.Node(o.Metadata(name="ill"), status=o.NodeStatus(allocatable={"cpu": "2"}, conditions=conditions)))
    snapshot.set_node_usage(snapshot.nodes.by_name["ill"], 1.0, 1.0, NOW)


def unseen(snapshot: ClusterSnapshot) -> None:
    for name, age in (("unseen", 3600.0), ("young", 60.0)):
        snapshot.nodes.created[snapshot.set_node(node(name))] = NOW - age


def failed(snapshot: ClusterSnapshot) -> None:
    snapshot.set(pod("failed", node="well", phase="Failed", labels=BATCH))
    snapshot.set(pod("other", node="well", phase="Failed"))


def starving(snapshot: ClusterSnapshot) -> None:
    for name, age in (("waits", 30_000.0), ("came", 60.0)):
        snapshot.pods.created[snapshot.set_pod(pod(name, labels=BATCH))] = NOW - age


def told(snapshot: ClusterSnapshot, name: str, about: dict[str, Any], age: float = 10.0) -> None:
    metric = {"name": "web", "namespace": "default", "extensions": {name: about}}
    status = {"updateTime": timestamp(NOW - age), "podsMetric": [metric]}
    snapshot.set(msgspec.convert({"metadata": {"name": "well"}, "status": status}, NodeMetric))


def suffers(snapshot: ClusterSnapshot) -> None:
    told(snapshot, FINDINGS, {"step": "EVICT", "culprit": "default/job", "evidence": "run-queue wait 0.4"})


def slow(snapshot: ClusterSnapshot) -> None:
    told(snapshot, OBJECTIVE, {"seconds": 0.03, "objective": 0.02, "quantile": 0.99})


@pytest.mark.parametrize(
    ("happens", "about", "reason", "said"),
    [
        (ill, "Node ill", "NodeDegraded", "is taken away"),
        (unseen, "Node unseen", "NodeUnmeasured", "nothing is reclaimed there"),
        (failed, "Pod default/failed", "OfflineFailed", "backoffLimit"),
        (starving, "Pod default/waits", "OfflineStarves", "more than 6 h"),
        (suffers, "Pod default/web", "ServiceSuffers", "the step EVICT against default/job: run-queue wait 0.4"),
        (slow, "Pod default/web", "BelowObjective", "p99 is 30 ms where 20 ms are wanted"),
    ],
)  # fmt: skip
def test_each_trouble_is_told_of_its_object_with_what_to_do(happens: Any, about: str, reason: str, said: str) -> None:
    snapshot = cluster()
    happens(snapshot)
    (found,) = troubles(snapshot, NOW)
    assert (str(found.about), found.reason) == (about, reason)
    assert said in found.note


def test_nothing_is_told_of_nodes_where_nobody_lends_nor_of_what_an_agent_said_long_ago() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(node("well"))
    ill(snapshot)
    unseen(snapshot)
    assert not list(troubles(snapshot, NOW))
    late = cluster()
    told(late, FINDINGS, {"step": "EVICT"}, age=600.0)
    assert not list(troubles(late, NOW))


class Said:
    """Takes Events, and writes none."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def say(self, regarding: Ref, *, reason: str, note: str, action: str, warning: bool) -> None:
        assert regarding.name
        assert note
        assert (action, warning) == ("CoLocation", True)
        self.reasons.append(reason)


def test_a_trouble_is_told_when_it_begins_once_an_hour_while_it_lasts_and_when_it_begins_again() -> None:
    snapshot, said, memory = cluster(), Said(), Told()
    ill(snapshot)
    for seconds, number in ((0, 1), (5, 1), (1800, 1), (3601, 2), (3606, 2)):
        snapshot.set_node_usage(snapshot.nodes.by_name["well"], 1.0, 1.0, NOW + seconds)
        memory.say(snapshot, said, NOW + seconds)
        assert said.reasons == ["NodeDegraded"] * number
    snapshot.remove_node("ill")
    memory.say(snapshot, said, NOW + 3610)
    ill(snapshot)
    memory.say(snapshot, said, NOW + 3611)
    assert len(said.reasons) == 3


def test_the_last_node_that_lent_is_told_of_when_it_is_lost() -> None:
    snapshot, said, memory = cluster(), Said(), Told()
    memory.say(snapshot, said, NOW)
    assert said.reasons == []
    row = snapshot.set_node(node("well", cpu="4"))  # what was reclaimed is taken away
    snapshot.nodes.created[row] = NOW - 3600
    memory.say(snapshot, said, NOW + 1000.0)
    assert said.reasons == ["NodeUnmeasured"]


def test_a_flood_of_troubles_is_told_in_parts() -> None:
    snapshot, said, memory = cluster(), Said(), Told()
    for number in range(450):
        snapshot.set(pod(f"failed-{number}", node="well", phase="Failed", labels=BATCH))
    told_by_cycle = []
    for seconds in range(4):
        memory.say(snapshot, said, NOW + seconds)
        told_by_cycle.append(len(said.reasons))
    assert told_by_cycle == [200, 400, 450, 450]


def test_an_offline_pod_that_failed_has_an_event_that_says_so(
    control_plane: Testbed, namespace: str, tmp_path: Path
) -> None:
    container = {"name": "main", "image": "busybox"}
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "job", "labels": BATCH},
        "spec": {"containers": [container]},
    }
    done(control_plane, "create", "-n", namespace, "-f", "-", content=json.dumps(made))
    status = json.dumps({"status": {"phase": "Failed"}})
    done(control_plane, "patch", "pod", "job", "-n", namespace, "--subresource=status", "--type=merge", "-p", status)
    replica = Replica(control_plane, namespace, tmp_path, "one", per_cycle=1)

    def notes() -> list[str]:
        events = items(control_plane, "events.events.k8s.io", "-n", namespace)
        return [
            each["note"] for each in events if each["reason"] == "OfflineFailed" and each["regarding"]["name"] == "job"
        ]

    try:
        eventually(notes)
        assert "backoffLimit" in notes()[0]
    finally:
        replica.end()
        replica.kill()
