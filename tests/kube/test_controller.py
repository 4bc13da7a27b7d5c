"""`neaptide run` on a real control plane, and what happens to a plan when a replica or the API server is killed or frozen in its midst."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import eventually, found
from tests.testbed.asking import deployment, done, items

from neaptide.model.workloads import SUSPENDED_REPLICAS
from neaptide.records.reading import read
from neaptide.testbed.cluster import Testbed

REPLICAS = 3
LEASE_SECONDS = 3


class Replica:
    """A controller in a process of its own, that suspends every Deployment of a namespace."""

    def __init__(self, testbed: Testbed, namespace: str, directory: Path, name: str, *, per_cycle: int) -> None:
        self.name, self.journal = name, directory / name
        rule = {
            "selector": {"kinds": ["Deployment"], "namespaces": [namespace]},
            "windows": [{"schedule": "0 0 29 2 *", "durationSeconds": 1}],
            "graceSeconds": 0,
            "deadlineSeconds": None,
            "maxPerCycle": per_cycle,
        }
        command = [
            *(sys.executable, "-m", "neaptide", "run", "--kubeconfig", str(testbed.kubeconfig), "--enforce"),
            *("--policy", "time-windows", "--set", f"time-windows.rules={json.dumps([rule])}", "--interval", "0.5"),
            *("--journal", str(self.journal), "--lease-namespace", namespace, "--identity", name),
            *("--lease-seconds", str(LEASE_SECONDS)),
        ]
        self.log = (directory / f"{name}.log").open("a")
        self.process = subprocess.Popen(command, stderr=self.log)  # noqa: S603 - the project's own

    def done(self) -> Counter[str]:
        """How often this replica's journal says of each target that something was done to it."""
        return Counter(
            outcome["action"]["target"]["name"]
            for _, cycle in read(self.journal, "journal")
            for outcome in cycle["outcomes"]
            if outcome["result"] == "Done"
        )

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=120)

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self.log.close()


class Scene:
    """Deployments in a namespace, and the replicas that a test has started."""

    def __init__(self, testbed: Testbed, namespace: str, directory: Path) -> None:
        self.testbed, self.namespace, self._directory = testbed, namespace, directory
        self._started: list[Replica] = []

    def deployments(self, count: int) -> None:
        made = [json.loads(deployment(f"web-{number:02d}", REPLICAS)) for number in range(count)]
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
        done(self.testbed, "create", "-n", self.namespace, "-f", "-", content=listed)

    def replica(self, name: str, *, per_cycle: int = 2) -> Replica:
        self._started.append(Replica(self.testbed, self.namespace, self._directory, name, per_cycle=per_cycle))
        return self._started[-1]

    def suspended(self) -> list[str]:
        """The replicas that each suspended Deployment keeps aside; it must have none."""
        kept = []
        for item in items(self.testbed, "deployments", "-n", self.namespace):
            aside = item["metadata"].get("annotations", {}).get(SUSPENDED_REPLICAS)
            if aside is not None:
                assert item["spec"]["replicas"] == 0
                kept.append(aside)
        return kept

    def holder(self) -> str:
        return str(found(self.testbed, "lease", "neaptide", self.namespace).get("spec", {}).get("holderIdentity", ""))

    def end(self) -> None:
        for each in self._started:
            each.kill()


@pytest.fixture
def scene(control_plane: Testbed, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(control_plane, namespace, tmp_path)
    yield made
    made.end()


def test_a_controller_does_its_work_writes_it_down_and_goes_when_it_is_told_to(scene: Scene) -> None:
    scene.deployments(5)
    replica = scene.replica("only")
    eventually(lambda: len(scene.suspended()) == 5)
    assert scene.suspended() == [str(REPLICAS)] * 5
    assert scene.holder() == "only"
    assert found(scene.testbed, "configmap", "neaptide-memory", scene.namespace)
    assert replica.end() == 0
    assert scene.holder() == ""
    assert set(replica.done().values()) == {1}
    said = [json.loads(line) for line in Path(replica.log.name).read_text().splitlines()]
    assert {each["event"] for each in said} >= {"synced", "leading", "action", "stopping"}
    told = items(scene.testbed, "events.events.k8s.io", "-n", scene.namespace)
    assert sum(each["reason"] == "Suspended" for each in told) == 5


def test_a_replica_that_is_killed_anywhere_in_a_plan_leaves_nothing_half_done_or_done_twice(scene: Scene) -> None:
    scene.deployments(24)
    for life in range(4):
        replica = scene.replica(f"life-{life}", per_cycle=8)
        eventually(lambda goal=4 * (life + 1): len(scene.suspended()) >= goal)  # type: ignore[misc]
        replica.kill()
    scene.replica("last", per_cycle=8)
    eventually(lambda: len(scene.suspended()) == 24)
    assert scene.suspended() == [str(REPLICAS)] * 24  # twice would have kept 0 aside


def test_a_leader_that_is_frozen_beyond_its_lease_does_nothing_when_it_wakes(scene: Scene) -> None:
    scene.deployments(12)
    first = scene.replica("first", per_cycle=1)
    eventually(lambda: len(scene.suspended()) >= 2)
    second = scene.replica("second", per_cycle=1)
    os.kill(first.process.pid, signal.SIGSTOP)
    eventually(lambda: scene.holder() == "second" and second.done())
    before = first.done()
    os.kill(first.process.pid, signal.SIGCONT)
    eventually(lambda: len(scene.suspended()) == 12)
    assert first.process.poll() is None
    # What was under way when it froze may have been done, and is told when it wakes: one action, and none after it.
    assert sum((first.done() - before).values()) <= 1
    assert scene.suspended() == [str(REPLICAS)] * 12
    assert max((first.done() + second.done()).values()) == 1


def test_when_a_leader_goes_the_other_goes_on_at_once(scene: Scene) -> None:
    scene.deployments(6)
    first = scene.replica("first", per_cycle=1)
    eventually(first.done)
    second = scene.replica("second", per_cycle=1)
    assert first.end() == 0
    eventually(lambda: len(scene.suspended()) == 6)
    assert max((first.done() + second.done()).values()) == 1


def test_an_api_server_that_is_killed_in_the_middle_of_a_plan_only_delays_it(
    own_control_plane: Testbed, tmp_path: Path
) -> None:
    scene = Scene(own_control_plane, "default", tmp_path)
    scene.deployments(30)
    replica = scene.replica("only", per_cycle=10)
    try:
        eventually(lambda: len(scene.suspended()) >= 3)
        own_control_plane.kill("kube-apiserver")
        own_control_plane.restart("kube-apiserver")
        eventually(lambda: len(scene.suspended()) == 30)
        assert scene.suspended() == [str(REPLICAS)] * 30
        assert replica.process.poll() is None
    finally:
        scene.end()


def test_objects_that_are_admitted_and_make_no_sense_stop_nothing(scene: Scene) -> None:
    scene.deployments(2)
    longest = "x" * 63
    strange: list[dict[str, Any]] = []
    for number in range(40):
        meta = {"name": f"strange-{number}", "labels": {f"{'a' * 253}/{longest}": longest}}
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": f"no-{number}", "controller": True}
        owners = [{**owner, "name": f"strange-{number ^ 1}"}]
        selector = {"matchLabels": {"app": f"strange-{number}"}}
        spec = {
            "replicas": 0,
            "selector": selector,
            "template": json.loads(deployment(f"strange-{number}", 0))["spec"]["template"],
        }
        strange.append(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {**meta, "ownerReferences": owners},
                "spec": spec,
            }
        )
        absurd = {"requests": {"cpu": "9223372036854775807", "memory": "7E"}}
        container = {"name": "main", "image": "web", "resources": absurd}
        strange.append({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}})
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": strange})
    done(scene.testbed, "create", "-n", scene.namespace, "-f", "-", content=listed)
    scene.replica("only")
    eventually(lambda: len(scene.suspended()) == 2)
