"""From the files of a machine to where a pod goes: an agent's report, the API server, the scheduler."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest
from tests.agent.machine import Machine
from tests.agent.test_node_metric import INTEROP, NOTHING
from tests.agent.trees import Node, Shape
from tests.kube.live import eventually
from tests.kube.scheduler.asking import bound, create, nothing_is_over_committed, pod, refusal
from tests.kube.scheduler.conftest import Start
from tests.testbed.asking import done

from neaptide.agent import node_metric
from neaptide.agent.node_metric import NodeReport, Reporting
from neaptide.agent.real_time import RealTime
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.testbed.cluster import Testbed

PROFILE = """
filters: [NodeUnschedulable, TaintToleration, NodeAffinity, NodeResourcesFit, {name: NodeInfoRt, refuseStale: true}]
scores: [LeastAllocated, NodeInfoRt]
"""
WHERE = "node-05"


@contextmanager
def reporting(bed: Testbed, directory: Path, machine: Machine) -> Iterator[None]:
    """An agent, on files, that tells of a node as long as the block lasts."""
    node = Node(directory / "node", Shape(2, systemd=True))
    agent, real_time = node.agent(NOTHING), RealTime(str(machine.proc), str(machine.sysfs))
    report = NodeReport(
        WHERE, Reporting(interval=30.0), node.said.append, real_time=lambda: real_time.look(time.monotonic())
    )
    agent.watchers.append(report.see)
    node.memory(used=400)
    node.use(agent)
    node.use(agent, node=1000)
    ended = Queue[Callable[[], object]]()

    async def tell() -> None:
        stop = asyncio.Event()
        ended.put(partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))
        async with Client(load(bed.kubeconfig)) as client:
            writing = asyncio.ensure_future(report.run(client))
            await stop.wait()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    thread = Thread(target=asyncio.run, args=(tell(),))
    thread.start()
    try:
        yield
    finally:
        ended.get()()
        thread.join()
        real_time.close()
        agent.close()


def test_a_node_whose_agent_tells_of_pressure_takes_no_pod_until_it_is_over(
    bed: Testbed, place: str, scheduler: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_metric, "_LOOK", 0.2)
    done(bed, "apply", f"--filename={INTEROP}")
    done(bed, "wait", "--for=condition=established", "crd/nodemetrics.slo.koordinator.sh", "--timeout=180s")
    machine, profile = Machine(tmp_path), tmp_path / "profile.yaml"
    machine.show(load=3.9, pressure=80.0)
    profile.write_text(PROFILE)
    mine = {"kubernetes.io/hostname": WHERE}
    with reporting(bed, tmp_path, machine), scheduler(bed.kubeconfig, "--scheduler-profile", str(profile)):
        create(bed, place, *(pod(f"there-{number}", nodeSelector=mine) for number in range(2)))
        eventually(lambda: "node(s) had too much" in refusal(bed, place, "there-0")[1])
        machine.show(load=0.2, pressure=1.0)
        assert set(bound(bed, place, 2).values()) == {WHERE}
    done(bed, "delete", "--filename", str(INTEROP))
    nothing_is_over_committed(bed)
