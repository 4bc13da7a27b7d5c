from pathlib import Path

import pytest
from tests.agent.trees import Node, Shape, forget_usage

from neaptide.agent.settings import Settings
from neaptide.noderules.cpu_burst import BurstSettings

BURST = Settings(cpu_suppress=None, group_priority=None, cpu_burst=BurstSettings(policy="auto"))
both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])


@both_versions
def test_a_throttled_service_gets_more_while_the_node_is_idle_and_its_base_when_it_is_not(
    tmp_path: Path, shape: Shape
) -> None:
    node = Node(tmp_path, shape)
    service, container = (group := node.pod("ls-1", "burstable")), node.containers(group)[0]
    kept = node.containers(node.pod("lsr-1", "", labels={"koordinator.sh/qosClass": "LSR"}))[0]
    for each in (service, container, kept):
        node.limit(each, 50_000)
    before = node.tree()
    agent = node.agent(BURST)
    node.use(agent)
    node.use(agent, **{"ls-1": 500})
    assert node.burst(container) == node.burst(service) == 50_000
    node.throttled(container, 7)
    node.use(agent, **{"ls-1": 500})
    assert node.quota(container) == node.quota(service) == 60_000
    node.use(agent, node=2500, **{"ls-1": 500})
    assert node.quota(container) == node.quota(service) == 50_000
    assert (node.quota(kept), node.burst(kept)) == (50_000, 0)
    agent.restore()
    agent.close()
    forget_usage(before)
    assert node.tree() == before


@both_versions
def test_a_resized_service_bursts_from_its_new_limit(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    service = node.pod("ls-1", "burstable")
    container = node.containers(service)[0]
    for each in (service, container):
        node.limit(each, 50_000)
    agent = node.agent(BURST)
    node.use(agent)
    for count in (1, 2):
        node.throttled(container, count)
        node.use(agent, **{"ls-1": 500})
    assert node.quota(container) == 60_000
    for each in (service, container):
        node.limit(each, 20_000)
    node.use(agent, **{"ls-1": 200})
    assert (node.quota(container), node.burst(container)) == (20_000, 20_000)
    agent.restore()
    assert (node.quota(container), node.quota(service)) == (20_000, 20_000)
    agent.close()
