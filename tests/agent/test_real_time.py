"""What the agent sees of its machine beside CPU and memory, and when it tells it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.agent.machine import Machine
from tests.agent.test_node_metric import NOTHING
from tests.agent.trees import Node, Shape

from neaptide.agent import node_metric
from neaptide.agent.node_metric import NodeReport, Reporting
from neaptide.agent.real_time import RealTime
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import Resource


def test_loads_are_per_cpu_pressure_is_the_last_ten_seconds_and_rates_are_since_the_last_look(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    seen = RealTime(str(machine.proc), str(machine.sysfs))
    machine.show(load=3.0, pressure=25.0)
    at_once = {"load.1m": 1.5, "load.5m": 1.5, "load.15m": 0.5} | dict.fromkeys(
        ("pressure.cpu", "pressure.memory", "pressure.io"), 0.25
    )
    assert seen.look(100.0) == at_once
    machine.show(load=3.0, pressure=25.0, received=10 * 62_500_000, sent=10 * 12_500_000, disk_ms=4_000)
    assert seen.look(110.0) == pytest.approx(at_once | {"network": 0.5, "disk": 0.4})
    machine.show(load=3.0, pressure=25.0)  # counters begin anew
    assert seen.look(120.0) == at_once
    seen.close()


def test_what_a_machine_does_not_tell_is_not_named(tmp_path: Path) -> None:
    assert RealTime(str(tmp_path), str(tmp_path)).look(1.0) == {}
    (tmp_path / "loadavg").write_text("1.00 1.00 1.00 1/2 3\n")  # of how many CPUs
    assert RealTime(str(tmp_path), str(tmp_path)).look(1.0) == {}


def test_this_machine_has_loads() -> None:
    assert {"load.1m", "load.5m", "load.15m"} <= RealTime().look(1.0).keys()


class Taking:
    """An API server that has the agent's object, and takes each status."""

    def __init__(self) -> None:
        self.taken: list[dict[str, str]] = []
        self.came = asyncio.Event()

    async def get(self, _: Resource, name: str) -> bytes:
        return b'{"metadata": {"name": "%s", "labels": {"app.kubernetes.io/managed-by": "neaptide"}}}' % name.encode()

    async def patch(self, _: Resource, _name: str, body: dict[str, Any], **_options: str) -> None:
        self.taken.append(body["status"]["nodeMetric"]["nodeUsage"]["resources"])
        self.came.set()


def test_what_moves_is_told_before_its_time_and_what_stays_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_metric, "_LOOK", 0.01)
    node, looks = Node(tmp_path, Shape(2, systemd=True)), 0
    values = {"load.1m": 0.5}

    def look() -> dict[str, float]:
        nonlocal looks
        looks += 1
        return dict(values)

    async def scenario() -> list[dict[str, str]]:
        server, agent = Taking(), node.agent(NOTHING)
        report = NodeReport("n", Reporting(interval=3600.0), node.said.append, real_time=look)
        agent.watchers.append(report.see)
        node.memory(used=400)
        node.use(agent)
        node.use(agent, node=1000)
        client: Client = server  # type: ignore[assignment] # as much of a client as is asked
        writing = asyncio.ensure_future(report.run(client))
        async with asyncio.timeout(60):
            await server.came.wait()
            values["load.1m"] = 0.55
            before = looks
            while looks < before + 3:  # noqa: ASYNC110 - looks come by themselves
                await asyncio.sleep(0.01)
            server.came.clear()
            values["load.1m"] = 0.7
            await server.came.wait()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        agent.close()
        return server.taken

    taken = asyncio.run(scenario())
    assert [each["neaptide.io/load-1m"] for each in taken] == ["500m", "700m"]
    assert taken[0]["cpu"] == "1000m"
