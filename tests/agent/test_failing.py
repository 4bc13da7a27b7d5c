"""What fails in the agent's process: the node stays kept, and nothing is given back that holds offline work back."""

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import Node, Shape

from neaptide.agent.agent import Agent
from neaptide.agent.settings import Settings
from neaptide.cli import agent as command
from neaptide.kubeapi.config import Cluster
from neaptide.noderules.cpu_suppress import SuppressSettings

PACE = command._Pace(1.0, 0.0, "")
SETTINGS = Settings(SuppressSettings(policy="cfsQuota", threshold_percent=50), group_priority=None)


@pytest.mark.parametrize("fails", [True, False], ids=["a round fails", "it ends when it is told to"])
def test_offline_work_is_let_go_only_where_the_agent_was_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    node = Node(tmp_path, Shape(2, systemd=False))
    node.pod("be")

    async def rounds(agent: Agent, *_: Any) -> None:
        for _round in range(3):
            node.use(agent, be=1000)
        if fails:
            raise RuntimeError("something unforeseen")

    monkeypatch.setattr(Agent, "run", rounds)
    kept = command._keep(node.place, SETTINGS, Cluster("http://127.0.0.1:9"), "n", PACE, heartbeat=lambda _: None)
    if fails:
        with pytest.raises(RuntimeError, match="something unforeseen"):
            asyncio.run(kept)
    else:
        asyncio.run(kept)
    assert (node.quota(node.layout.tier("besteffort")) > 0) is fails


def test_what_only_asks_or_reports_is_begun_again_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_AGAIN", 0.01)
    begun = count(1)

    async def fails() -> None:
        if next(begun) == 3:
            raise asyncio.CancelledError
        raise ValueError("nonsense")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(command._kept_up("to report", fails))
    assert next(begun) == 4
    assert "it failed to report, which is tried again" in capsys.readouterr().err
