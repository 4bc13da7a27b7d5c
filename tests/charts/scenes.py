"""A controller that is the chart's account, outside of the cluster that the chart is installed in, and whether it needs all that it may."""

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from tests.charts.helm import INTEROP, NEAPTIDE, Helm
from tests.charts.rights import granted, kubeconfig_of, refused, used, user_of
from tests.kube.live import found
from tests.testbed.asking import done

from neaptide.model.actions import AnyAction, Evict
from neaptide.testbed.cluster import Testbed

PLACE = ("--namespace=tide", "--create-namespace")
BASE = "replicas=0,journal.persistence=false,controller.intervalSeconds=1"
PLAIN = f"{BASE},admission.webhook=false,journal.endpoint=false"
VALUES = (f"--set={PLAIN}",)
"""What everybody has."""
USER = user_of("neaptide")


class Scene:
    """A cluster with the chart in it, and one controller outside of it that is the chart's account."""

    def __init__(self, testbed: Testbed, helm: Helm, directory: Path, values: tuple[str, ...]) -> None:
        self.testbed, self.helm, self._directory = testbed, helm, directory
        self.objects = helm.rendered(NEAPTIDE, *values, release="neaptide", namespace="tide")
        self.webhook, self.journal = free_port(), free_port()
        self._controller: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run what the chart runs, with the token of the chart's account."""
        (container,) = self.objects["StatefulSet", "neaptide"]["spec"]["template"]["spec"]["containers"]
        places = {
            "--identity=$(POD_NAME)_$(POD_UID)": "--identity=neaptide-0_9d3a",
            "--journal=/var/lib/neaptide/journal": f"--journal={self._directory / 'journal'}",
            "--listen=:8080": "--listen=127.0.0.1:0",
            "--journal-listen=127.0.0.1:9444": f"--journal-listen=127.0.0.1:{self.journal}",
            "--webhook=:9443": f"--webhook=127.0.0.1:{self.webhook}",
        }
        arguments = [places.get(each, each) for each in container["args"]]
        kubeconfig = kubeconfig_of(self.testbed, self._directory, "neaptide")
        command = [sys.executable, "-m", "neaptide", *arguments, f"--kubeconfig={kubeconfig}"]
        with (self._directory / "controller.log").open("wb") as output:
            self._controller = subprocess.Popen(command, stderr=output, stdout=output)  # noqa: S603 - the project's own

    def end(self) -> None:
        if self._controller is not None and self._controller.poll() is None:
            self._controller.terminate()
            self._controller.wait(timeout=120)

    def said(self) -> str:
        """The controller's log."""
        return (self._directory / "controller.log").read_text(encoding="utf-8")

    def apply(self, manifest: dict[str, Any]) -> None:
        done(self.testbed, "apply", "--filename=-", content=json.dumps(manifest))


def installed(testbed: Testbed, helm: Helm, directory: Path, values: tuple[str, ...]) -> Scene:
    """A cluster with both charts in it."""
    helm.done("install", "neaptide", NEAPTIDE, *PLACE, *values)
    helm.done("install", "interop", INTEROP, *PLACE)
    return Scene(testbed, helm, directory, values)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def idle(scene: Scene) -> set[str]:
    """What the scene's values give besides VALUES, and nobody has made use of."""
    without = granted(scene.helm.rendered(NEAPTIDE, *VALUES, release="neaptide", namespace="tide"))
    added = granted(scene.objects) - without
    assert added
    return {str(each) for each in added - used(scene.testbed.log("audit"), USER)}


def assert_added_is_used(scene: Scene) -> None:
    """Nothing was refused, and all that the scene's values give besides VALUES was made use of."""
    no, unused = refused(scene.testbed.log("audit"), USER), idle(scene)
    assert not no, f"refused: {no}"
    assert not unused, f"given, and never used: {unused}"


def policy(name: str, spec: dict[str, Any], *, mode: str) -> dict[str, Any]:
    limits = {"minimumStaySeconds": 0, "ownershipSeconds": 0, "evictionsPerWorkloadPercent": 100}
    return {
        "apiVersion": "neaptide.io/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": name},
        "spec": {**spec, "mode": mode, "limits": limits},
    }


def by_hand(*actions: AnyAction) -> dict[str, Any]:
    """An approved Plan of these actions."""
    now = datetime.now(UTC)
    times = {"created": now, "expires": now + timedelta(hours=1)}
    spec = {name: each.strftime("%Y-%m-%dT%H:%M:%SZ") for name, each in times.items()}
    evictions = sum(isinstance(each, Evict) for each in actions)
    return {
        "apiVersion": "neaptide.io/v1alpha1",
        "kind": "Plan",
        "metadata": {"name": "by-hand"},
        "spec": {**spec, "approved": True, "evictions": evictions, "actions": msgspec.to_builtins(actions)},
    }


def carried_out(testbed: Testbed) -> bool:
    """Whether the Plan that was made by hand is done."""
    phase: str = found(testbed, "plans.neaptide.io", "by-hand").get("status", {}).get("phase", "")
    return phase == "Done"
