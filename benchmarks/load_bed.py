"""A control plane on which the load that Karpenter was measured with is deployed."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import karpenter_load as load
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.components import component_named
from neaptide.testbed.server import Server

_LONGEST = 900.0
_PODS = f"/api/v1/namespaces/{load.NAMESPACE}/pods?resourceVersion=0"
_WAITING = f"/api/v1/namespaces/{load.NAMESPACE}/pods?fieldSelector=spec.nodeName%3D"
_NODES = "/api/v1/nodes?resourceVersion=0"
_DEPLOYMENTS = f"/apis/apps/v1/namespaces/{load.NAMESPACE}/deployments"


class Bed:
    """A control plane, one connection to it, and what it is used for."""

    def __init__(self, testbed: Testbed, server: Server, directory: Path) -> None:
        self.testbed, self.server, self.directory = testbed, server, directory

    def pods(self) -> list[dict[str, Any]]:
        """Those of the load."""
        return self._items(_PODS)

    def waits(self) -> bool:
        """Whether one of them has no node. All of them are many megabytes, and asking for them slows down who works on them."""
        return bool(self._items(f"{_WAITING}&limit=1"))

    def nodes(self) -> list[dict[str, Any]]:
        """All of them."""
        return self._items(_NODES)

    def deploy(self, replicas: int) -> None:
        """Create the load's Deployments, one after the other."""
        for each in load.deployments(replicas):
            self.server.call("POST", _DEPLOYMENTS, each)

    def until_running(self, count: int) -> None:
        """Wait for as many pods as there are to be, all of them Running."""
        due = time.monotonic() + _LONGEST
        while True:
            pods = self.pods()
            if len(pods) == count and all(runs(each) for each in pods):
                return
            if time.monotonic() > due:
                raise TimeoutError(f"{sum(map(runs, pods))} of {count} pods run")
            time.sleep(1.0)

    def scale(self, replicas: int) -> None:
        """All Deployments."""
        done = self.testbed.kubectl(["scale", "deploy", "-n", "load", "--all", f"--replicas={replicas}"], timeout=120)
        if done.returncode:
            raise RuntimeError(done.stderr)

    def _items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = msgspec.json.decode(self.server.call("GET", path))["items"]
        return found


@contextmanager
def bed() -> Iterator[Bed]:
    """An empty control plane with kube-scheduler."""
    with tempfile.TemporaryDirectory() as directory:
        testbed = Testbed(Path(directory) / "bed", leash=os.getpid())
        testbed.up()
        try:
            with Server(component_named("kube-apiserver"), testbed.site, timeout=120) as server:
                server.call("POST", "/api/v1/namespaces", {"metadata": {"name": "load"}})
                while not server.is_ready("/api/v1/namespaces/load/serviceaccounts/default"):
                    time.sleep(0.2)
                yield Bed(testbed, server, Path(directory))
        finally:
            testbed.down(purge=True)


def runs(pod: Mapping[str, Any]) -> bool:
    """Whether it is Running, and nobody has deleted it."""
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
