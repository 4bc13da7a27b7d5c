"""The snapshot: from JSON to columns, one event, what-if."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, Peer, best_seconds
from benchmarks.podlist import podlist
from neaptide.model.build import add_pod_list
from neaptide.model.manifests import pods_of_list
from neaptide.model.objects import Metadata, Node, NodeStatus
from neaptide.model.snapshot import ClusterSnapshot

PODS, NODES = 10_000, 1_000


def empty_cluster(nodes: int = NODES) -> ClusterSnapshot:
    """Nodes that the pods of `podlist` name, without pods."""
    snapshot = ClusterSnapshot()
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110"}
    for number in range(nodes):
        name = f"node-{number:05d}"
        snapshot.set_node(
            Node(Metadata(name=name, labels={"kubernetes.io/hostname": name}), status=NodeStatus(amounts))
        )
    return snapshot


def list_figures() -> Iterator[Figure]:
    """A first list: seconds, and memory in a process of its own."""
    import json  # noqa: PLC0415 - the peer

    data = podlist(PODS)
    clusters = [empty_cluster() for _ in range(5)]
    seconds = best_seconds(lambda: add_pod_list(clusters.pop(), data, "pods.json"))
    peer = best_seconds(lambda: json.loads(data), times=3)
    yield Figure("snapshot.list.seconds", seconds, "s", Peer("json.loads to dicts, no columns", peer))
    yield Figure("snapshot.list.megabytes", len(data) / 1e6, "MB")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.snapshot", file.name]
        grown = subprocess.run(command, check=True, capture_output=True, text=True)
    yield Figure("snapshot.list.mebibytes_peak", float(grown.stdout), "MiB", Peer("the JSON itself", len(data) / 2**20))


def event_figures() -> Iterator[Figure]:
    """One pod event, and a what-if of growing size."""
    snapshot = empty_cluster()
    data = podlist(PODS)
    add_pod_list(snapshot, data, "pods.json")
    pods = next(pods_of_list(data))

    def events() -> None:
        for pod in pods:
            snapshot.set_pod(pod)

    yield Figure("snapshot.event.microseconds", best_seconds(events) / len(pods) * 1e6, "us")
    costs = {count: _what_if_seconds(snapshot, count) for count in (1, 10, 100, 1000)}
    for count, seconds in costs.items():
        yield Figure(
            f"snapshot.what_if.{count}_moves.microseconds", seconds * 1e6, "us", Peer("one move", costs[1] * 1e6)
        )
    for size in (1_000, 10_000):
        cluster = empty_cluster(size)
        add_pod_list(cluster, podlist(PODS, nodes=size), "pods.json")
        yield Figure(f"snapshot.what_if.1_move.{size}_nodes.microseconds", _what_if_seconds(cluster, 1) * 1e6, "us")


def _what_if_seconds(snapshot: ClusterSnapshot, moves: int) -> float:
    """Seconds for moving pods and taking it all back."""
    pods = np.flatnonzero(snapshot.pods.node[: snapshot.pods.rows] >= 0)[:moves].tolist()
    repeats = max(1, 1000 // moves)

    def run() -> None:
        for _ in range(repeats):
            with snapshot.what_if():
                for pod in pods:
                    snapshot.unassign(pod)
                    snapshot.assign(pod, 0)

    return best_seconds(run) / repeats


def _peak_growth(file: str) -> float:
    """MiB that decoding and columns add at their peak to a process that holds the JSON."""
    data = Path(file).read_bytes()
    snapshot = empty_cluster()
    before = _status("VmRSS")
    add_pod_list(snapshot, data, "pods.json")
    return _status("VmHWM") - before


def _status(field: str) -> float:
    """MiB of a field of this process's status: VmRSS (resident now) or VmHWM (at most so far)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"snapshot.list": list_figures, "snapshot.": event_figures}

if __name__ == "__main__":
    print(_peak_growth(sys.argv[1]))
