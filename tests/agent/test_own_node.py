"""What the API server tells of the agent's node, and what rules make of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.trees import SHAPES, Node, Shape
from tests.kube.live import eventually
from tests.testbed.asking import done

from neaptide.agent.own_node import SYSTEM_QOS, NodeFacts, OwnNode
from neaptide.agent.settings import Settings
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.errors import Forbidden
from neaptide.kubeapi.watch import Changed, Interrupted, Listed
from neaptide.model.node_reservation import ANNOTATION
from neaptide.noderules.cpu_evict import CpuEvictSettings
from neaptide.noderules.cpu_suppress import SuppressSettings
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

BE = {"koordinator.sh/qosClass": "BE"}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def node(annotation: str | None = None, *, lent: str | None = None, system: str = "{}") -> dict[str, Any]:
    """Of 4 CPUs, half of one kept by the kubelet."""
    allocatable = {"cpu": "3500m", "memory": "900Mi"} | ({} if lent is None else {"kubernetes.io/batch-cpu": lent})
    return {
        "metadata": {"uid": "u", "annotations": {SYSTEM_QOS: system, ANNOTATION: annotation or "{}"}},
        "status": {"capacity": {"cpu": "4", "memory": "1000Mi"}, "allocatable": allocatable},
    }


def changed(found: object) -> Changed:
    return Changed(msgspec.Raw(json.dumps(found).encode()))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (node(), NodeFacts("u", 500, frozenset(), 900 << 20, cpu=4000)),
        (node('{"resources": {"cpu": "2"}}'), NodeFacts("u", 2000, frozenset(), 900 << 20, cpu=4000)),
        (node('{"resources": {"cpu": "100m"}}', lent="1200"), NodeFacts("u", 500, frozenset(), 900 << 20, 1200, 4000)),
        (node('{"reservedCPUs": "0,3"}'), NodeFacts("u", 2000, frozenset({0, 3}), 900 << 20, cpu=4000)),
        (
            node('{"reservedCPUs": "0"}', system='{"cpuset": "2-3"}'),
            NodeFacts("u", 1000, frozenset({0, 2, 3}), 900 << 20, cpu=4000),
        ),
        (
            node(system='{"cpuset": "2-3", "cpusetExclusive": false}'),
            NodeFacts("u", 500, frozenset(), 900 << 20, cpu=4000),
        ),
        ({"metadata": {"uid": "u"}, "status": {"capacity": {"cpu": "4"}}}, NodeFacts("u", cpu=4000)),
        ({"metadata": {"uid": "u"}, "status": {"allocatable": {"memory": "much"}}}, NodeFacts("u")),
    ],
    ids=[
        "the kubelet's part",
        "the annotation says more",
        "it says less",
        "by name",
        "of SYSTEM pods",
        "shared with SYSTEM pods",
        "no allocatable",
        "no quantity",
    ],
)
def test_the_larger_of_what_kubelet_and_annotation_keep_counts(found: dict[str, Any], told: NodeFacts) -> None:
    own = OwnNode(pytest.fail)
    own.take(Listed(json.dumps({"items": [found]}).encode()))
    assert own.facts == told
    own = OwnNode(pytest.fail)
    own.take(changed(found))
    assert own.facts == told


def test_what_cannot_be_read_is_said_once_and_what_was_told_last_stays() -> None:
    said: list[str] = []
    own = OwnNode(said.append)
    for _ in range(2):
        own.take(changed(node("none")))
    assert own.facts.reserved_cpu == 500
    own.take(changed({"metadata": "none"}))
    for _ in range(2):
        own.take(Interrupted(Forbidden(403, "Forbidden", "nodes is forbidden"), 1.0))
    assert own.facts.uid == "u"
    assert [sentence.partition(":")[0] for sentence in said] == [
        "the node keeps nothing more for the system",
        "what the node keeps for the system is not known",
    ]


@every_shape
def test_what_the_node_keeps_is_not_lent(tmp_path: Path, shape: Shape) -> None:
    files = Node(tmp_path, shape)
    files.pod("be-1")
    agent = files.agent(Settings(SuppressSettings(policy="cfsQuota", threshold_percent=50), group_priority=None))
    quotas = []
    for told in (NodeFacts(), NodeFacts(reserved_cpu=500, cpu=4000), NodeFacts(reserved_cpu=3500, cpu=6000)):
        agent.facts = lambda told=told: told  # type: ignore[misc]
        files.use(agent, node=10)
        files.use(agent, node=10)
        quotas.append(files.quota(files.layout.tier("besteffort")))
    assert quotas[1:] == [150_000, 50_000]
    agent.close()


@pytest.mark.parametrize("policy", ["cpuset", "cfsQuota"])
@pytest.mark.parametrize("version", [1, 2])
def test_cpus_that_the_node_keeps_by_name_are_not_best_effort_pods(tmp_path: Path, policy: str, version: int) -> None:
    files = Node(tmp_path, Shape(version, systemd=False))
    files.pod("be-1")
    tier = files.layout.tier("besteffort")
    for group in ("", "burstable", "besteffort"):
        name = "cpuset.effective_cpus" if version == 1 else "cpuset.cpus.effective"
        files.path(files.layout.tier(group), name).write_text("0-3\n")
    agent = files.agent(Settings(SuppressSettings(policy=policy, threshold_percent=75), group_priority=None))
    agent.facts = lambda: NodeFacts(reserved_cpus=frozenset({0, 3}))
    files.use(agent)
    files.use(agent)
    assert files.path(tier, "cpuset.cpus").read_text().strip() == "1-2"
    agent.close()


def test_pods_go_by_what_the_node_lends_where_it_is_asked_for(tmp_path: Path) -> None:
    files = Node(tmp_path, Shape(2, systemd=False))
    files.pod("be-1", "burstable", labels=BE, requests={"kubernetes.io/batch-cpu": "2000"})
    bounds = {"satisfaction_lower_percent": 60, "satisfaction_upper_percent": 80}
    evict = CpuEvictSettings(policy="evictByAllocatable", window_seconds=2.0, **bounds)  # type: ignore[arg-type]
    agent = files.agent(Settings(cpu_suppress=None, group_priority=None, cpu_evict=evict))
    for lent in (None, 1900, 500):
        assert not [each for each in files.said if "evict" in each]
        agent.facts = lambda lent=lent: NodeFacts(batch_cpu=lent)  # type: ignore[misc]
        for _ in range(4):
            files.use(agent, **{"be-1": 1800})
    assert [each for each in files.said if "evict" in each]
    agent.close()


@pytest.mark.slow
def test_it_is_followed_on_a_real_api_server(own_control_plane: Testbed) -> None:
    add_nodes(own_control_plane.site, [fake_node("n", {}, {"cpu": "4", "memory": "8Gi", "pods": "9"})])
    own = OwnNode(pytest.fail)

    async def follow() -> None:
        async with Client(load(own_control_plane.kubeconfig)) as client:
            following = asyncio.ensure_future(own.follow(client, "n"))
            text = '{"resources": {"cpu": "3"}}'
            await asyncio.to_thread(done, own_control_plane, "annotate", "node", "n", f"{ANNOTATION}={text}")
            await asyncio.to_thread(eventually, lambda: own.facts.reserved_cpu == 3000)
            await asyncio.to_thread(done, own_control_plane, "annotate", "node", "n", f"{ANNOTATION}-")
            await asyncio.to_thread(eventually, lambda: own.facts.reserved_cpu == 0)
            following.cancel()

    asyncio.run(follow())
    assert own.facts.uid
