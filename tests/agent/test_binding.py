"""CPU binding on trees of files: who gets which CPUs, and that all come back."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import Node, Shape, forget_usage

from neaptide.agent.binding import STATUS
from neaptide.agent.settings import Settings
from neaptide.noderules.cpu_suppress import SuppressSettings

both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])
BIND = Settings(cpu_suppress=None, group_priority=None)
QUOTA = Settings(SuppressSettings(policy="cfsQuota"), group_priority=None)
CPU_SET = Settings(SuppressSettings(threshold_percent=100), group_priority=None)


def own(qos: str, cpus: str) -> dict[str, Any]:
    return {"labels": {"koordinator.sh/qosClass": qos}, "annotations": {STATUS: json.dumps({"cpuset": cpus})}}


@both_versions
def test_pods_have_the_cpus_written_down_for_them_without_quota_and_services_share_the_rest(
    tmp_path: Path, shape: Shape
) -> None:
    node = Node(tmp_path, shape)
    lse, lsr = node.pod("lse", "", **own("LSE", "0")), node.pod("lsr", "", **own("LSR", "1"))
    for group in (lse, *node.containers(lse)):
        node.limit(group, 100_000)
    service = node.pod("ls", "burstable")
    node.pod("be")
    system = node.pod("sys", "burstable", labels={"koordinator.sh/qosClass": "SYSTEM"})
    before = node.tree()
    agent = node.agent(BIND)
    node.use(agent)
    node.use(agent)
    assert {name: _cpus(node, group) for name, group in _named(lse, lsr, service).items()} == {
        "first": "0",
        "second": "1",
        "third": "2-3",
    }
    assert [node.quota(group) for group in (lse, *node.containers(lse))] == [-1, -1]
    all_cpus = "0-3" if shape.version == 1 else ""
    assert (_cpus(node, node.layout.tier("besteffort")), _cpus(node, system)) == ("1-3", all_cpus)
    assert agent.restore() == 0
    forget_usage(before)
    assert node.tree() == before
    agent.close()


@both_versions
@pytest.mark.parametrize(("settings", "wanted"), [(QUOTA, "1-3"), (CPU_SET, "1-3")], ids=["by quota", "by CPU set"])
def test_best_effort_pods_are_kept_off_the_cpus_of_lse_pods_only(
    tmp_path: Path, shape: Shape, settings: Settings, wanted: str
) -> None:
    node = Node(tmp_path, shape)
    node.pod("lse", "", **own("LSE", "0"))
    node.pod("lsr", "", **own("LSR", "1"))
    node.pod("be")
    agent = node.agent(settings)
    node.use(agent)
    for _ in range(4):
        node.use(agent)
    assert _cpus(node, node.layout.tier("besteffort")) == wanted
    agent.close()


@both_versions
@pytest.mark.parametrize(
    ("second", "said"),
    [("0", "another pod's, too"), ("7", "not the node's"), ("1-3", "more than it requests")],
    ids=["another's", "not there", "more than it asked for"],
)
def test_cpus_that_cannot_be_given_are_told_once_and_the_others_are_given(
    tmp_path: Path, shape: Shape, second: str, said: str
) -> None:
    node = Node(tmp_path, shape)
    good, bad = node.pod("a", "", **own("LSE", "0")), node.pod("b", "", **own("LSR", second))
    agent = node.agent(BIND)
    for _ in range(4):
        node.use(agent)
    assert (_cpus(node, good), _cpus(node, bad)) == ("0", "1-3")
    assert len([sentence for sentence in node.said if said in sentence]) == 1
    agent.close()


@both_versions
@pytest.mark.parametrize("text", ["", "{", '{"cpuset": 3}', '{"cpuset": "x-y"}', "[]"])
def test_what_nobody_can_read_and_classes_without_cpus_of_their_own_bind_nothing(
    tmp_path: Path, shape: Shape, text: str
) -> None:
    node = Node(tmp_path, shape)
    node.pod("a", "", labels={"koordinator.sh/qosClass": "LSE"}, annotations={STATUS: text})
    node.pod("b", "burstable", **own("LS", "1"))
    node.pod("c", "", annotations={STATUS: json.dumps({"cpuset": "2"})})
    before = node.tree()
    agent = node.agent(BIND)
    node.use(agent)
    node.use(agent)
    forget_usage(before)
    assert node.tree() == before
    agent.close()


@both_versions
def test_a_kubelet_whose_cpu_manager_is_static_keeps_its_cpu_sets(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    node.pod("lse", "", **own("LSE", "0"))
    (node.directory / "kubelet").mkdir()
    (node.directory / "kubelet/cpu_manager_state").write_text('{"policyName": "static"}')
    before = node.tree()
    agent = node.agent(BIND)
    node.use(agent)
    node.use(agent)
    forget_usage(before)
    assert node.tree() == before
    agent.close()


def _named(*groups: str) -> dict[str, str]:
    return dict(zip(("first", "second", "third"), groups, strict=True))


def _cpus(node: Node, group: str) -> str:
    return node.path(group, "cpuset.cpus").read_text().strip()
