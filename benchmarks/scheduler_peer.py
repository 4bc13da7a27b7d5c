"""The scheduler beside kube-scheduler: on the same control plane, on the same pods, one after the other.

NODES and PODS set the size (1,000 and 5,000 by default), MANY_NODES that of the larger cluster (5,000), RUNS how often each scheduler is measured, by
turns (5; ALL_RUNS, 2, where the peer scores every node, which takes it minutes), SINGLES how many single pods (100), MINUTES how long bindings are made at an even pace (10).
A scheduler is started when all pods are there, and its time counts from the start of its process until the last pod is bound.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks.figure import Figure, Peer
from benchmarks.scheduler_bed import (
    OURS,
    PEER,
    PEER_ALL,
    Bed,
    bed,
    connection,
    log_of,
    nodes,
    pod,
    resident,
    scheduling,
    settled_cpu,
    until,
)

NODES, PODS = int(os.environ.get("NODES", "1000")), int(os.environ.get("PODS", "5000"))
MANY_NODES = int(os.environ.get("MANY_NODES", "5000"))
RUNS, ALL_RUNS = int(os.environ.get("RUNS", "5")), int(os.environ.get("ALL_RUNS", "2"))
SINGLES = int(os.environ.get("SINGLES", "100"))
MINUTES = float(os.environ.get("MINUTES", "10"))
PACE = 30.0
_GONE_AFTER = 20.0  # seconds
_WHY_ENDED = "scheduler ends"


class Run(NamedTuple):
    """Seconds until all were bound; seconds of CPU when the rest (Events) was written too, and of ours what they went into."""

    seconds: float
    cpu: float
    parts: dict[str, float]


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Pod(msgspec.Struct):
    spec: _Spec


def queue_figures() -> Iterator[Figure]:
    """A full queue on NODES nodes: pods a second from the start of the process to the last binding, and CPU per 1,000 bindings."""
    yield from _queue_figures(NODES, (OURS, PEER))


def large_figures() -> Iterator[Figure]:
    """The same on MANY_NODES nodes; the peer also with every node scored, as ours does."""
    yield from _queue_figures(MANY_NODES, (OURS, PEER, PEER_ALL))


def _queue_figures(size: int, schedulers: Sequence[str]) -> Iterator[Figure]:
    runs: dict[str, list[Run]] = {name: [] for name in schedulers}
    with bed(nodes(size)) as found:
        for turn in range(RUNS):
            for scheduler, done in runs.items():
                if scheduler != PEER_ALL or turn < ALL_RUNS:
                    done.append(_queue(found, scheduler))
    speed = {name: median(PODS / each.seconds for each in done) for name, done in runs.items()}
    cpu = {name: median(1000 * each.cpu / PODS for each in done) for name, done in runs.items()}
    start = f"scheduler.queue.nodes_{size}.pods_{PODS}"
    for peer in schedulers[1:]:
        beside = "" if peer == PEER else ".beside_all_nodes_scored"
        yield Figure(f"{start}{beside}.pods_per_second", speed[OURS], "pods/s", Peer(peer, speed[peer]))
        yield Figure(f"{start}{beside}.cpu_seconds_per_1000_binds", cpu[OURS], "s", Peer(peer, cpu[peer]))
    for part in runs[OURS][0].parts if all(each.parts for each in runs[OURS]) else ():
        spent = median(1000 * each.parts[part] / PODS for each in runs[OURS])
        yield Figure(f"{start}.cpu_seconds_per_1000_binds.{part}", spent, "s", Peer("all of ours", cpu[OURS]))


def _queue(found: Bed, scheduler: str) -> Run:
    namespace = found.namespace()
    found.fill(namespace, scheduler, PODS)
    began = time.monotonic()
    with scheduling(scheduler, found.testbed) as process:
        until(lambda: not found.is_any_unbound(namespace), pause=0.2, process=process)
        seconds = time.monotonic() - began
        cpu = settled_cpu(process)
    said = _said(found) if scheduler == OURS else {}
    print(f"{scheduler}: {PODS} pods in {seconds:.1f} s, {cpu:.1f} s of CPU {said or ''}", file=sys.stderr)
    found.empty(namespace)
    return Run(seconds, cpu, said)


def _said(found: Bed) -> dict[str, float]:
    """What our process said at its end of where its CPU time went."""
    for line in reversed(log_of(OURS, found.testbed).read_text().splitlines()):
        if _WHY_ENDED in line:
            told: dict[str, Any] = json.loads(line)
            return {part: float(seconds) for part, seconds in told["cpu_seconds"].items()}
    return {}


def latency_figures() -> Iterator[Figure]:
    """One pod on an idle cluster: from its creation until its binding is seen."""
    with bed(nodes(NODES)) as found:
        taken = {}
        for scheduler in (OURS, PEER):
            with scheduling(scheduler, found.testbed):
                taken[scheduler] = _latencies(found, scheduler)
    for part in (50, 99):
        ours, peer = (1000 * float(np.percentile(taken[each], part)) for each in (OURS, PEER))
        yield Figure(f"scheduler.one_pod.nodes_{NODES}.p{part}.milliseconds", ours, "ms", Peer(PEER, peer))


def _latencies(found: Bed, scheduler: str) -> list[float]:
    namespace = found.namespace()
    path, taken = f"/api/v1/namespaces/{namespace}/pods", []
    for number in range(SINGLES + 1):
        name = f"single-{number}"
        began = time.monotonic()
        found.server.call("POST", path, pod(name, scheduler))
        until(lambda name=name: _bound(found.server.call("GET", f"{path}/{name}")), pause=0.001)  # type: ignore[misc]
        if number:  # the first one waits for the start of the process
            taken.append(time.monotonic() - began)
        time.sleep(0.05)
    found.empty(namespace)
    return taken


def pace_figures() -> Iterator[Figure]:
    """30 pods a second for minutes, each of a Job of its own and gone 20 s after it was made: memory, and what became of every pod."""
    with (
        bed(nodes(NODES)) as found,
        scheduling(OURS, found.testbed) as process,
        connection(found.testbed) as server,
        ThreadPoolExecutor(1) as other,
    ):
        namespace = found.namespace()
        path, count = f"/api/v1/namespaces/{namespace}/pods", int(60 * MINUTES * PACE)
        memory, ended = [], []

        def end(number: int) -> bool:
            """Delete a pod, in the other thread; whether it had a node."""
            bound = _bound(server.call("GET", f"{path}/even-{number}"))
            server.call("DELETE", f"{path}/even-{number}", {"gracePeriodSeconds": 0})
            return bound

        began = time.monotonic()
        for number in range(count):
            found.server.call("POST", path, pod(f"even-{number}", OURS, job=f"even-{number}"))
            if number >= int(_GONE_AFTER * PACE):
                ended.append(other.submit(end, number - int(_GONE_AFTER * PACE)))
            if number % int(10 * PACE) == 0:
                memory.append(resident(process.pid))
            time.sleep(max(began + (number + 1) / PACE - time.monotonic(), 0))
        lost = sum(not each.result() for each in ended)
        pace = count / (time.monotonic() - began)
        until(lambda: not found.is_any_unbound(namespace), process=process)
        memory.append(resident(process.pid))
        logs = sorted((found.testbed.directory / "logs").glob("audit*.log"))
        bindings = [bound for log in logs for line in log.read_text().splitlines() if (bound := _binding(line))]
    warm = len(memory) // 3
    size = f"scheduler.pace.minutes_{MINUTES:g}"
    yield Figure(f"{size}.pods_per_second", pace, "pods/s", Peer("asked for", PACE))
    yield Figure(f"{size}.lost_pods", float(lost), "pods")
    yield Figure(f"{size}.pods_bound_twice", float(len(bindings) - len(set(bindings))), "pods")
    yield Figure(f"{size}.memory_growth", memory[-1] / memory[warm], "x", Peer("MiB after a third", memory[warm]))


def _binding(line: str) -> str:
    """The pod that a line of the audit log has bound; empty where it has not."""
    if '"subresource":"binding"' not in line or '"ResponseComplete"' not in line or '"code":201' not in line:
        return ""
    found: str = json.loads(line)["requestURI"].partition("?")[0]
    return found


def _bound(raw: bytes) -> bool:
    return bool(msgspec.json.decode(raw, type=_Pod).spec.node_name)


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {
    f"scheduler.queue.nodes_{NODES}": queue_figures,
    f"scheduler.queue.nodes_{MANY_NODES}": large_figures,
    "scheduler.one_pod": latency_figures,
    "scheduler.pace": pace_figures,
}
