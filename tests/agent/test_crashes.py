"""An agent that dies by SIGKILL, at any write: what it leaves is undone, or gone on with."""

from pathlib import Path

import pytest
from tests.agent.trees import Node, Shape, forget_usage, killed_at_write

from neaptide.agent.agent import Agent
from neaptide.agent.settings import Settings
from neaptide.noderules.cpu_suppress import SuppressSettings

BE = {"koordinator.sh/qosClass": "BE"}
ALL = Settings(SuppressSettings(policy="cfsQuota", threshold_percent=50))
both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])


@both_versions
@pytest.mark.parametrize("nth", range(1, 9))
def test_killed_at_any_write_the_next_start_gives_everything_back(tmp_path: Path, shape: Shape, nth: int) -> None:
    node = Node(tmp_path, shape)
    node.pod("be-1")
    node.pod("be-2", "burstable", labels=BE)
    before = node.tree()
    killed = _killed_at(node, nth)
    assert killed or nth > 4
    after = node.agent(ALL)
    assert after.restore() == 0
    after.close()
    forget_usage(before)
    assert node.tree() == before


def test_originals_of_another_boot_are_not_written(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    node.pod("be-1")
    _killed_at(node, 3)
    (node.proc / "sys/kernel/random/boot_id").write_text("boot-2\n")
    agent = node.agent(ALL)
    before = node.tree()
    assert agent.restore() == 0
    assert node.tree() == before
    agent.close()


def test_an_agent_that_is_started_again_goes_on_where_the_last_was_killed(tmp_path: Path) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    node.pod("be-1")
    before = node.tree()
    _killed_at(node, 100)
    tier = node.layout.tier("besteffort")
    held = node.quota(tier)
    agent = node.agent(ALL)
    node.use(agent)
    assert node.quota(tier) == held != -1
    node.use(agent)
    agent.restore()
    agent.close()
    forget_usage(before)
    assert node.tree() == before


def _killed_at(node: Node, nth: int) -> bool:
    """Whether an agent came to its nth write, before which it was killed."""

    def rounds(agent: Agent) -> None:
        for _ in range(3):
            node.use(agent, **{"be-1": 1000})
        node.use(agent, node=3000, **{"be-1": 1000})
        node.use(agent, node=2000, **{"be-1": 1000})

    return killed_at_write(nth, lambda: node.agent(ALL), rounds)
