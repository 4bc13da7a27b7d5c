"""The live world: a recorded stream over TLS into the snapshot, its memory, and the loop at the size of a large cluster.

What is recorded is the JSON of `podlist` (realistic pods of about 4 KB) and of plain nodes. The large cluster is 15,000 such pods of 500
workloads ten times over, each time under other names, on 5,000 nodes; all nodes and pods have usage. The figures of a real control plane
are in `live_testbed`.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from time import perf_counter, process_time

import msgspec
import numpy as np
import uvloop

from benchmarks.figure import Figure, Peer
from benchmarks.podlist import podlist
from benchmarks.recorded_server import recorded
from neaptide.kube.cache import Cache
from neaptide.kube.logs import quiet
from neaptide.kube.streams import Stream, tell
from neaptide.kube.usage.readings import Reading, Readings, apply
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS as RESOURCE
from neaptide.kubeapi.watch import Changed, Synced, changes
from neaptide.loop import LoopMemory, Mode, Setting, run_once
from neaptide.model.actions import AnyAction, Outcome, Ref, SetNodeResources
from neaptide.model.objects import Metadata, Node, NodeCondition, NodeStatus
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.reclaim import ReclaimSpec
from neaptide.policies.registry import POLICIES
from neaptide.policies.time_windows_spec import Rule, TimeWindowsSpec, Valley

NODES, PARTS, PODS_OF_A_PART, WORKLOADS_OF_A_PART = 5_000, 10, 15_000, 500
STREAMED, EVENTS = 20_000, 40_000
START = 1_800_000_000.0
PERIOD = 30.0
TIMES = 5


class _List(msgspec.Struct):
    items: list[msgspec.Raw]


def stream_figures() -> Iterator[Figure]:
    """Events a second from a TLS socket into the snapshot, 20,000 pods changing."""
    quiet()
    with recorded(STREAMED, EVENTS) as kubeconfig:
        seconds, busy = uvloop.run(_streamed(kubeconfig))
    yield Figure("live.stream.events_per_second", EVENTS / seconds, "events/s")
    yield Figure("live.stream.cpu_microseconds_per_event", 1e6 * busy / EVENTS, "us")


async def _streamed(kubeconfig: Path) -> tuple[float, float]:
    """Seconds by the clock and of this process's CPU."""
    cache, stream, left, began, spent = Cache(("Pod",)), Stream(RESOURCE, ""), EVENTS, 0.0, 0.0
    async with Client(load(kubeconfig)) as client, aclosing(changes(client, RESOURCE)) as events:
        async for event in events:
            tell(cache, stream, event)
            if isinstance(event, Synced):
                began, spent = perf_counter(), process_time()
            elif isinstance(event, Changed):
                left -= 1
                if not left:
                    break
    return perf_counter() - began, process_time() - spent


def memory_figures() -> Iterator[Figure]:
    """What a process holds that has read the large cluster, in a process of its own."""
    told = subprocess.run([sys.executable, "-m", "benchmarks.live"], check=True, capture_output=True, text=True)
    held, peak, empty = (float(each) for each in told.stdout.split())
    yield Figure("live.memory.mebibytes", held, "MiB", Peer("the same process before it read anything", empty))
    yield Figure("live.memory.mebibytes_peak", peak, "MiB")


def loop_figures() -> Iterator[Figure]:
    """One cycle with all policies: nothing changed since the last, and 1 % of the pods changed."""
    cache, page = filled()
    world = _World(cache.snapshot)
    settings = _settings()
    memory = LoopMemory()
    for _ in range(4):  # the first cycles write what is reclaimed, and learn
        world.pass_time()
        _, memory = run_once(world, settings, memory)
    unchanged: list[tuple[float, float]] = []
    changed: list[tuple[float, float]] = []
    events = msgspec.json.decode(page, type=_List).items[: PARTS * PODS_OF_A_PART // 100]
    for _ in range(TIMES):
        for times in (unchanged, changed):
            if times is changed:
                for raw in events:
                    cache.put("Pod", bytes(raw).replace(b'"ready":true', b'"ready":false'))
            world.pass_time()
            began, spent = perf_counter(), process_time()
            _, memory = run_once(world, settings, memory)
            times.append((perf_counter() - began, process_time() - spent))
    for name, times in {"unchanged": unchanged, "one_percent_changed": changed}.items():
        seconds, busy = np.median(times, axis=0).tolist()
        yield Figure(f"live.loop.{name}.seconds", seconds, "s")
        yield Figure(f"live.loop.{name}.cpu_seconds", busy, "s")
        yield Figure(f"live.loop.{name}.worst_seconds", max(times)[0], "s")


class _World:
    """A large cluster in which usage stays as it is, every action succeeds, and half a minute passes between cycles."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot, self._time, self._readings = snapshot, START, Readings()

    def pass_time(self) -> None:
        """Half a minute passes, and usage is read anew, which is no part of a cycle."""
        self._time += PERIOD
        node, pod = Reading(20_000.0, 1e11, self._time), Reading(100.0, 1e8, self._time)
        self._readings = Readings(
            dict.fromkeys(self._snapshot.nodes.by_name, node), dict.fromkeys(self._snapshot.pods.by_key, pod)
        )
        _ = self._readings.columns  # as whoever reads usage does

    def now(self) -> float:
        return self._time

    def observe(self) -> ClusterSnapshot:
        apply(self._snapshot, self._readings, self._time)
        return self._snapshot

    def act(self, actions: Sequence[AnyAction]) -> list[Outcome]:
        for each in actions:
            if isinstance(each, SetNodeResources):
                self._snapshot.set_node_resources(self._snapshot.nodes.by_name[each.target.name], each.resources)
        return [Outcome(each, "Done", each.reason) for each in actions]

    def disruptions(self) -> list[Ref]:
        return []


def _settings() -> list[Setting]:
    """Every policy on, with its defaults; offline work runs in valleys."""
    specs = {policy.name: policy.spec_type() for policy in POLICIES}
    specs["reclaim"] = ReclaimSpec(cold_start_seconds=0.0)
    specs["time-windows"] = TimeWindowsSpec((Rule(valley=Valley()),))
    return [Setting(policy, specs[policy.name], Mode.ENFORCE) for policy in POLICIES]


def filled() -> tuple[Cache, bytes]:
    """A cache that has read the large cluster, and the page with its last pods."""
    cache = Cache(("Node", "Pod"))
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110"}
    status = NodeStatus(amounts, amounts, (NodeCondition("Ready", "True"),))
    cache.list_begins("Node")
    for row in range(NODES):
        cache.put("Node", msgspec.json.encode(Node(Metadata(f"node-{row:05d}"), status=status)))
    cache.list_ends("Node")
    page = podlist(PODS_OF_A_PART, workloads=WORKLOADS_OF_A_PART, nodes=NODES)
    cache.list_begins("Pod")
    for part in range(PARTS):
        page = page.replace(b"service-" if not part else f"s{part - 1}rvice-".encode(), f"s{part}rvice-".encode())
        cache.page("Pod", page)
    cache.list_ends("Pod")
    return cache, page


def _status(field: str) -> float:
    """MiB of a field of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {
    "live.stream": stream_figures,
    "live.memory": memory_figures,
    "live.loop": loop_figures,
}

if __name__ == "__main__":
    empty = _status("VmRSS")
    kept, _ = filled()
    del _
    print(_status("VmRSS"), _status("VmHWM"), empty)
