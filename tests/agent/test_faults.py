"""What goes wrong on a node: clocks that jump, an API server that is away, pods that lie or come and go, files that cannot be read."""

import random
from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import Node, Shape, forget_usage, tell

from neaptide.agent.files import hold_many
from neaptide.agent.settings import Settings
from neaptide.kubeapi.errors import ConnectionLost
from neaptide.kubeapi.watch import Interrupted
from neaptide.noderules.cpu_burst import BurstSettings
from neaptide.noderules.cpu_suppress import SuppressSettings
from neaptide.noderules.disk import DiskSettings
from neaptide.noderules.memory_evict import MemoryEvictSettings
from neaptide.noderules.memory_qos import MemoryQosSettings, MemoryShares

BE = {"koordinator.sh/qosClass": "BE"}
ALL = Settings(
    SuppressSettings(policy="cfsQuota", threshold_percent=50),
    memory_evict=MemoryEvictSettings(),
    cpu_burst=BurstSettings("auto"),
    memory_qos=MemoryQosSettings(ls=MemoryShares(50, 100), be=MemoryShares(throttling_percent=50)),
    disk=DiskSettings(write_bps=1000, pressure_percent=20),
)
both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])


@both_versions
@pytest.mark.parametrize("jump", [0.0, -3600.0, 1e-9], ids=["it stands", "backwards", "hardly on"])
def test_a_clock_that_jumps_changes_nothing_until_it_goes_on(tmp_path: Path, shape: Shape, jump: float) -> None:
    node = _busy(tmp_path, shape)
    agent = node.agent(ALL)
    node.use(agent)
    node.use(agent, **{"be-1": 1000, "ls-1": 500})
    before = node.tree()
    agent.tick(node.now + jump)
    assert node.tree() == before
    node.now += jump
    node.use(agent, **{"be-1": 1000, "ls-1": 500})
    assert node.quota(node.layout.tier("besteffort")) > 0
    agent.close()


@both_versions
def test_after_a_pause_of_an_hour_use_is_that_of_the_hour_and_the_limit_rises_by_a_step(
    tmp_path: Path, shape: Shape
) -> None:
    node = _busy(tmp_path, shape)
    agent = node.agent(ALL)
    node.use(agent)
    node.use(agent, **{"ls-1": 1500})
    held = _limit(node)
    node.now += 3600
    node.use(agent)
    assert held < _limit(node) <= held + 40_000
    agent.close()


def test_the_node_stays_safe_while_the_api_server_is_away_for_ten_minutes(tmp_path: Path) -> None:
    node = _busy(tmp_path, Shape(2, systemd=True))
    agent = node.agent(ALL)
    node.use(agent)
    node.pods.take(Interrupted(ConnectionLost(0, "ConnectionLost", "the API server is away"), 1.0))
    new = node.pod("new", "burstable", told=False)
    rng = random.Random(1)
    for second in range(600):
        busy = rng.choice([0, 500, 1500])
        node.use(agent, **{"be-1": 300, "ls-1": busy, "new": 100})
        if second > 30:  # by then the first limit has risen to what it may be
            assert _limit(node) <= max(200_000 - (busy + 100) * 100, 2_000)
    assert node.path(new, "cpu.idle").read_text() == "0\n", "one that nobody told of is a service"
    assert agent.restore() == 0
    agent.close()


def test_two_hundred_and_fifty_pods_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    hold_many()
    node = Node(tmp_path, Shape(2, systemd=True))
    agent = node.agent(ALL)
    rng = random.Random(2)
    objects: list[dict[str, Any]] = []
    groups: dict[str, str] = {}
    for number in range(250):
        tier, labels = rng.choice([("besteffort", {}), ("burstable", BE), ("burstable", {}), ("", {})])
        groups[f"p{number}"] = node.pod(f"p{number}", tier, told=False, labels=labels)
        objects.append(_object(f"p{number}", labels))
    for _ in range(6):
        tell(node.pods, rng.sample(objects, 200))  # it tells late of some, and of some that are gone
        node.use(agent, **{uid: rng.choice([0, 10]) for uid in groups})
        for uid in rng.sample(sorted(groups), 30):
            _remove(node, groups.pop(uid))
    tell(node.pods, objects)
    node.use(agent)
    assert not any(uid in path for path in agent._files._open for uid in _gone(node, groups)), (
        "no file of a group that is gone is held"
    )
    for group in groups.values():
        _remove(node, group)
    node.use(agent)
    assert agent.restore() == 0
    assert not [path for path in agent._originals.entries if "#" not in path], "a line of a tree's file cannot vanish"
    agent.close()


def test_a_pod_that_lies_about_its_class_gets_no_more_than_it_says(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    prod = node.pod("prod", "burstable", labels={**BE, "koordinator.sh/priority-class": "koord-prod"})
    system = node.pod("system", labels={"koordinator.sh/qosClass": "SYSTEM"})
    unknown = node.pod("unknown", "burstable", labels={"koordinator.sh/qosClass": "be"})
    honest = node.pod("honest", "burstable", labels=BE)
    agent = node.agent(ALL)
    node.use(agent)
    node.use(agent)
    idle = {name: node.path(group, "cpu.idle").read_text() for name, group in
            {"prod": prod, "system": system, "unknown": unknown, "honest": honest}.items()}  # fmt: skip
    assert idle == {"prod": "0\n", "system": "0\n", "unknown": "0\n", "honest": "1\n"}
    agent.close()


@both_versions
@pytest.mark.parametrize(
    "file", ["cpu.stat", "cpuacct.usage", "memory.stat", "cpu.max", "cpu.cfs_quota_us", "io.pressure"]
)
@pytest.mark.parametrize("content", [None, "", "nan\n", "usage_usec nan\n", "-7\n", "\x00"], ids=repr)
def test_a_file_that_is_missing_or_nonsense_stops_no_rule_of_the_others(
    tmp_path: Path, shape: Shape, file: str, content: str | None
) -> None:
    node = _busy(tmp_path, shape)
    other = node.pod("be-2", "burstable", labels=BE)
    agent = node.agent(ALL)
    node.use(agent)
    broken = node.path(f"{node.layout.tier('besteffort')}/{node._pod_name('be-1', 'besteffort')}", file)
    if broken.exists():
        broken.unlink()
        agent._files.close()
        if content is not None:
            broken.write_text(content)
    agent.tick(node.now + 1)
    agent.tick(node.now + 2)
    assert node.path(other, "cpu.idle").read_text() == "1\n"
    assert node.quota(other) > 0
    agent.close()


@both_versions
def test_a_quality_classs_own_group_is_never_idle_and_its_weight_is_the_kubelets(tmp_path: Path, shape: Shape) -> None:
    node = _busy(tmp_path, shape)
    agent = node.agent(ALL)
    weight = "cpu.shares" if shape.version == 1 else "cpu.weight"
    for _ in range(3):
        node.use(agent, **{"be-1": 500})
        for tier in ("", "burstable", "besteffort"):
            node.path(node.layout.tier(tier), weight).write_text("17\n")  # as the kubelet does each minute
    for tier in ("", "burstable", "besteffort"):
        assert node.path(node.layout.tier(tier), "cpu.idle").read_text() == "0\n"
        assert node.path(node.layout.tier(tier), weight).read_text() == "17\n"
    agent.restore()
    agent.close()


def test_what_the_kubelet_sets_back_is_written_again_and_its_word_is_the_original(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    group = node.pod("be-1")
    before = node.tree()
    agent = node.agent(ALL)
    node.use(agent)
    node.use(agent)
    tier = node.layout.tier("besteffort")
    node.path(tier, "cpu.max").write_text("max 100000\n")
    node.path(group, "cpu.idle").write_text("0\n")
    node.use(agent)
    assert node.quota(tier) > 0
    assert node.path(group, "cpu.idle").read_text() == "1\n"
    agent.restore()
    forget_usage(before)
    assert {path: text for path, text in node.tree().items() if not path.endswith("io.max")} == {
        path: text for path, text in before.items() if not path.endswith("io.max")
    }
    agent.close()


def _busy(directory: Path, shape: Shape) -> Node:
    node = Node(directory, shape)
    node.pod("be-1")
    node.pod("ls-1", "burstable", requests={"memory": "100Mi"})
    return node


def _limit(node: Node) -> int:
    return node.quota(node.layout.tier("besteffort"))


def _object(uid: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": uid, "namespace": "default", "uid": uid, "labels": labels}}


def _gone(node: Node, groups: dict[str, str]) -> list[str]:
    """How the paths of groups that are gone are known."""
    end = ".slice/" if node.shape.systemd else "/"
    return [f"podp{number}{end}" for number in range(250) if f"p{number}" not in groups]


def _remove(node: Node, group: str) -> None:
    """In every hierarchy, as a kubelet does."""
    for file in ("cpu.shares", "cpuset.cpus", "cpuacct.usage", "memory.stat", "blkio.bfq.weight"):
        directory = node.path(group, file).parent
        for path in sorted(directory.rglob("*"), reverse=True) if directory.exists() else ():
            path.unlink() if path.is_file() else path.rmdir()
        if directory.exists():
            directory.rmdir()
