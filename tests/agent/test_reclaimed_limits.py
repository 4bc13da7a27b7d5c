"""Limits of batch, mid and OT resources, which no kubelet enforces: written into the groups of the pods that name them, and gone with the agent."""

from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import Node, Shape, tell

from neaptide.agent.settings import Settings
from neaptide.noderules.cpu_suppress import SuppressSettings

MIB = 1 << 20
BE = {"koordinator.sh/qosClass": "BE"}
NONE = Settings(cpu_suppress=None, group_priority=None)
both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])


def batch(cpu: int, memory: str, kind: str = "kubernetes.io/batch") -> dict[str, Any]:
    amounts = {f"{kind}-cpu": str(cpu), f"{kind}-memory": memory}
    return {"requests": amounts, "limits": amounts}


def memory_limit(node: Node, group: str) -> str:
    file = "memory.limit_in_bytes" if node.shape.version == 1 else "memory.max"
    return node.path(group, file).read_text().strip()


@both_versions
@pytest.mark.parametrize("kind", ["kubernetes.io/batch", "kubernetes.io/mid", "neaptide.io/ot"])
def test_a_pod_has_no_more_memory_and_cpu_than_it_asked_for(tmp_path: Path, shape: Shape, kind: str) -> None:
    node = Node(tmp_path, shape)
    job = node.pod("job", labels=BE, **batch(1500, "64Mi", kind))
    other = node.pod("other", labels=BE)
    before = node.tree()
    agent = node.agent(NONE)
    node.use(agent)
    node.use(agent)
    [container] = node.containers(job)
    assert memory_limit(node, job) == memory_limit(node, container) == str(64 * MIB)
    assert node.quota(job) == 150_000
    assert node.quota(other) == -1
    assert {path for path in before if other in path and node.tree()[path] != before[path]} == set()
    assert agent.restore() == 0
    assert {path: text for path, text in node.tree().items() if "stat" not in path and "usage" not in path} == {
        path: text for path, text in before.items() if "stat" not in path and "usage" not in path
    }
    agent.close()


def test_a_container_without_a_limit_leaves_its_pod_without_one(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    job = node.pod("job", labels=BE, **batch(1500, "64Mi"))
    node._objects[0]["spec"]["containers"].append({"name": "second", "resources": {}})
    tell(node.pods, node._objects)
    agent = node.agent(NONE)
    node.use(agent)
    node.use(agent)
    [container] = node.containers(job)
    assert (memory_limit(node, container), memory_limit(node, job), node.quota(job)) == (str(64 * MIB), "max", -1)
    agent.close()


def test_sidecars_count_with_containers_and_what_runs_before_them_with_its_largest(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    job = node.pod("job", labels=BE, **batch(1500, "64Mi"))
    limits = [("sidecar", "Always", "16Mi"), ("first", "", "32Mi"), ("large", "", "100Mi")]
    node._objects[0]["spec"]["initContainers"] = [
        {"name": name, "restartPolicy": policy, "resources": batch(100, memory)} for name, policy, memory in limits
    ]
    tell(node.pods, node._objects)
    agent = node.agent(NONE)
    node.use(agent)
    node.use(agent)
    assert memory_limit(node, job) == str(100 * MIB)
    assert node.quota(job) == 160_000
    agent.close()


@both_versions
def test_of_a_pods_own_limit_and_suppression_the_tighter_holds(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("served", labels={"koordinator.sh/qosClass": "LS"})  # so that each pod that gives way has its part
    small, large = (node.pod(name, labels=BE, **batch(milli, "64Mi")) for name, milli in (("a", 100), ("b", 9000)))
    suppress = SuppressSettings(policy="cfsQuota", threshold_percent=50)
    agent = node.agent(Settings(cpu_suppress=suppress, group_priority=None))
    for _ in range(3):
        node.use(agent, a=100, b=100)
    # Under version 1 a group's quota must not be less than those below it, so none has its own.
    assert node.quota(small) == (100_000 if shape.version == 1 else 10_000)
    assert node.quota(large) == 100_000
    agent.close()


def test_null_leaves_limits_alone(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    job = node.pod("job", labels=BE, **batch(1500, "64Mi"))
    agent = node.agent(NONE._replace(reclaimed_limits=None))
    node.use(agent)
    node.use(agent)
    assert memory_limit(node, job) == "max"
    agent.close()
