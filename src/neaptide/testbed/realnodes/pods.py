"""Pods on real nodes: made, asked, looked at from the machine."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes import images
from neaptide.testbed.realnodes.cgroups import PODS
from neaptide.testbed.realnodes.cluster import RealNodes

_START_WITHIN = 60  # seconds


class Pod(Struct, frozen=True):
    """A pod that runs. `qos` is its class, as in BestEffort."""

    namespace: str
    name: str
    uid: str
    node: str
    address: str
    qos: str


def manifest(
    name: str,
    command: Sequence[str] = ("sleep", "1000000"),
    *,
    image: str = images.BUSYBOX.name,
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **spec: Any,  # noqa: ANN401 - fields of a PodSpec
) -> dict[str, Any]:
    """A pod with one container, `main`; without a command it is a sleep that ends at once when it is told to. `spec` adds to its spec."""
    resources = {"requests": dict(requests or {}), "limits": dict(limits or {})}
    container = {"name": "main", "image": image, "command": list(command), "resources": resources}
    usual = {"containers": [container], "dnsPolicy": "Default", "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **(labels or {})}},
        "spec": {**usual, **spec},
    }


class Pods:
    """The pods of a namespace of a testbed with real nodes."""

    def __init__(self, nodes: RealNodes, namespace: str) -> None:
        self._nodes = nodes
        self._testbed: Testbed = nodes.testbed
        self.namespace = namespace

    def run(self, pod: Mapping[str, Any]) -> Pod:
        """Create a pod and return when it is ready.

        Raises:
            TestbedError: it is refused, or does not get ready; with its status.
        """
        self.kubectl("create", "--filename=-", content=json.dumps(pod))
        return self.ready(str(pod["metadata"]["name"]))

    def ready(self, name: str) -> Pod:
        """A pod, once it is ready."""
        wait = ["wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={_START_WITHIN}s"]
        waited = self._testbed.kubectl(["--namespace", self.namespace, *wait], timeout=2 * _START_WITHIN)
        found = json.loads(self.kubectl("get", "pod", name, "--output=json"))
        status = found["status"]
        if waited.returncode:
            raise TestbedError(f"{self.namespace}/{name}: {waited.stderr.strip()}\n{json.dumps(status, indent=2)}")
        uid, node = found["metadata"]["uid"], found["spec"]["nodeName"]
        return Pod(self.namespace, name, uid, node, status.get("podIP", ""), status["qosClass"])

    def logs(self, name: str, *options: str) -> str:
        """What its container printed."""
        return self.kubectl("logs", name, *options)

    def execute(self, name: str, *command: str) -> str:
        """What a command prints that is run in its container."""
        return self.kubectl("exec", name, "--", *command)

    def cgroup(self, pod: Pod, controller: str) -> Path:
        """The pod's control group; its containers' are below it, by container ID.

        Args:
            pod: that runs on a real node.
            controller: as in `cpu`; on version 2 all are in the same group. `unified` is that of version 2 on both.
        """
        tier = {"Guaranteed": "", "Burstable": "burstable", "BestEffort": "besteffort"}[pod.qos]
        return self._nodes.cgroup(pod.node, controller) / PODS / tier / f"pod{pod.uid}"

    def kubectl(self, *arguments: str, content: str | None = None) -> str:
        """What kubectl prints, for this namespace.

        Raises:
            TestbedError: it failed.
        """
        done = self._testbed.kubectl(["--namespace", self.namespace, *arguments], content=content)
        if done.returncode:
            raise TestbedError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout
