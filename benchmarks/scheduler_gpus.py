"""Packing of the openb default trace on the real API, device by device: ours, and kube-scheduler with MostAllocated, which knows sums only.

PART of the trace's GPU nodes (0.1), and of its GPU pods in the trace's order as many as ask for LOAD times their devices (1.3), all pending when a
scheduler starts. The peer's pods ask for whole devices in hundredths too, so that its sums at least are right. Of what it has granted on a node counts
what can be given device by device, pod after pod as they were bound, the tightest devices first; the rest is over-granted. Ours has written
the devices on the pods: what stands there is checked, and a device that is given twice counts as over-granted just so.
"""

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.figure import Figure, Peer
from benchmarks.scheduler_bed import OURS, PEER_MOST, SCHEDULER_NAMES, Bed, bed, log_of, scheduling
from neaptide.simulator.traces.openb import Openb
from neaptide.testbed import openb
from neaptide.testbed.load import add_pods

PART, LOAD = float(os.environ.get("PART", "0.1")), float(os.environ.get("LOAD", "1.3"))
GPU, CORE, RATIO = "nvidia.com/gpu", "koordinator.sh/gpu-core", "koordinator.sh/gpu-memory-ratio"
ALLOCATED = "scheduling.koordinator.sh/device-allocated"
WHOLE = 1000
_SETTLED = 20.0
"""Seconds without a binding after which nothing more is expected."""


class Granted(NamedTuple):
    """GPU milli that devices can really give, and what was granted beyond that."""

    given: int
    over: int


def figures() -> Iterator[Figure]:
    """GPU milli given on PART of the trace."""
    trace = openb.read(Path(os.environ["NEAPTIDE_TRACES"]) / "openb")
    every = [each for each in openb.nodes(trace) if _devices(each)]
    nodes = every[:: max(round(1 / PART), 1)]
    devices = {each["metadata"]["name"]: _devices(each) for each in nodes}
    capacity = WHOLE * sum(devices.values())
    found = {name: _granted(name, nodes, devices, _chosen(trace, name, LOAD * capacity)) for name in (OURS, PEER_MOST)}
    size = f"scheduler.gpus.part_{PART:g}.load_{LOAD:g}"
    ours, peer = found[OURS], found[PEER_MOST]
    yield Figure(
        f"{size}.given_percent", 100 * ours.given / capacity, "%", Peer(PEER_MOST, 100 * peer.given / capacity)
    )
    yield Figure(f"{size}.over_granted_milli", float(ours.over), "milli", Peer(PEER_MOST, float(peer.over)))


def _devices(node: dict[str, Any]) -> int:
    return int(node["status"]["allocatable"][GPU])


def _chosen(trace: Openb, scheduler: str, milli: float) -> list[dict[str, Any]]:
    """The first GPU pods that ask for so much together."""
    chosen, asked = [], 0
    for pod in openb.pods(trace, len(trace.pods.names), SCHEDULER_NAMES[scheduler]):
        amount = _milli(pod)
        if amount and asked < milli:
            asked += amount
            chosen.append(pod if scheduler == OURS else _in_hundredths(pod))
    return chosen


def _requests(pod: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = pod["spec"]["containers"][0]["resources"]["requests"]
    return found


def _milli(pod: dict[str, Any]) -> int:
    """GPU milli that a pod asks for."""
    asked = _requests(pod)
    return WHOLE * int(asked.get(GPU, 0)) + 10 * int(asked.get(CORE, 0))


def _in_hundredths(pod: dict[str, Any]) -> dict[str, Any]:
    resources = pod["spec"]["containers"][0]["resources"]
    for amounts in resources.values():
        if GPU in amounts:
            amounts[CORE] = amounts[RATIO] = str(100 * int(amounts.pop(GPU)))
    return pod


def _granted(
    scheduler: str, nodes: list[dict[str, Any]], devices: dict[str, int], pods: list[dict[str, Any]]
) -> Granted:
    """Have a scheduler place pods on a cluster of its own, and look at what it has granted."""
    with bed(nodes) as found:
        add_pods(found.testbed.site, pods)
        with scheduling(scheduler, found.testbed) as process:
            _wait_until_settled(found, process)
            if process.poll() is not None:
                raise RuntimeError(f"{scheduler} has ended:\n{log_of(scheduler, found.testbed).read_text()[-3000:]}")
        bound = [each for each in found.pods(openb.NAMESPACE) if each["spec"].get("nodeName")]
    return by_annotation(bound, devices) if scheduler == OURS else by_order(bound, devices)


def _wait_until_settled(found: Bed, process: subprocess.Popen[bytes]) -> None:
    """Until some pods are bound, and no more have been for a while."""
    before, since = 0, time.monotonic()
    while (not before or time.monotonic() - since < _SETTLED) and process.poll() is None:
        now = sum(bool(each["spec"].get("nodeName")) for each in found.pods(openb.NAMESPACE))
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(1.0)


def by_annotation(pods: list[dict[str, Any]], devices: dict[str, int]) -> Granted:
    """What the pods' annotations give of each device; nothing is given that a node does not have, or twice."""
    used: dict[tuple[str, int], int] = defaultdict(int)
    nowhere = 0
    for pod in pods:
        node = pod["spec"]["nodeName"]
        said = json.loads(pod["metadata"].get("annotations", {}).get(ALLOCATED, '{"gpu": []}'))["gpu"]
        for each in said:
            used[node, int(each["minor"])] += 10 * int(each["resources"][CORE])
        nowhere += _milli(pod) - sum(10 * int(each["resources"][CORE]) for each in said)
    real = {key: min(milli, WHOLE) if key[1] < devices[key[0]] else 0 for key, milli in used.items()}
    return Granted(sum(real.values()), sum(used.values()) - sum(real.values()) + max(nowhere, 0))


def by_order(pods: list[dict[str, Any]], devices: dict[str, int]) -> Granted:
    """What can be given device by device of what was granted by sums."""
    free = {node: np.full(count, WHOLE) for node, count in devices.items()}
    given = over = 0
    for pod in sorted(pods, key=_bound_at):
        room, milli = free[pod["spec"]["nodeName"]], _milli(pod)
        each = min(milli, WHOLE)
        fits = np.flatnonzero(room >= each)
        wanted = -(-milli // WHOLE)
        if len(fits) < wanted:
            over += milli
            continue
        room[fits[np.argsort(room[fits], kind="stable")][:wanted]] -= each
        given += milli
    return Granted(given, over)


def _bound_at(pod: dict[str, Any]) -> tuple[str, str]:
    times = [
        each["lastTransitionTime"] for each in pod["status"].get("conditions", ()) if each["type"] == "PodScheduled"
    ]
    return (times[0] if times else ""), pod["metadata"]["name"]


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"scheduler.gpus": figures}
