"""The virtual node's StatefulSet: its flags are the command's, and its account may do what it does and not one verb more."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.charts.conftest import NEAPTIDE, Helm
from tests.charts.rights import granted, refused, used
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done
from tests.virtualnode.test_serving import get, said
from tests.virtualnode.virtual import on

from neaptide.cli.virtual_node import BillFlags, KubeletFlags, virtual_node
from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.providers.simulated import RUN_SECONDS

ON = "--set=virtualNode.enabled=true"
ACCOUNT = "neaptide-virtual-node"
USER = f"system:serviceaccount:tide:{ACCOUNT}"


def test_no_virtual_node_runs_until_it_is_asked_for(helm: Helm) -> None:
    assert ("StatefulSet", "tide-virtual-node") not in helm.rendered(NEAPTIDE)


def test_its_flags_are_the_commands(helm: Helm) -> None:
    objects = helm.rendered(NEAPTIDE, ON, "--set=virtualNode.overflow=false,virtualNode.labels.zone=b")
    (container,) = objects["StatefulSet", "tide-virtual-node"]["spec"]["template"]["spec"]["containers"]
    flags = {each.partition("=")[0].removeprefix("--").removeprefix("no-") for each in container["args"][1:]}
    known = {*(virtual_node.__kwdefaults__ or ()), *vars(BillFlags()), *vars(KubeletFlags()), "name", "provider"}
    assert flags <= known
    assert "--label=zone=b" in container["args"]


@pytest.mark.slow
def test_the_account_may_do_what_the_virtual_node_does_and_not_one_verb_more(
    own_control_plane: Testbed, helm_in: Callable[[Path], Helm], tmp_path: Path
) -> None:
    testbed, helm = own_control_plane, helm_in(own_control_plane.kubeconfig)
    values = ("--set=replicas=0,journal.persistence=false,admission.webhook=false,virtualNode.persistence=false", ON)
    helm.done("install", "neaptide", NEAPTIDE, "--namespace=tide", "--create-namespace", *values)
    settings = tmp_path / "settings.yaml"
    settings.write_text("startSeconds: 0\nsecondsPerMb: 0\n")
    flags = ["--name=virtual", "--provider=simulated", f"--settings={settings}", "--address=127.0.0.1", "--port=0"]
    flags.append("--identity=one")  # as a container that is started again has
    command = [
        sys.executable,
        "-m",
        "neaptide",
        "virtual-node",
        *flags,
        f"--kubeconfig={_kubeconfig(testbed, tmp_path)}",
    ]
    with subprocess.Popen(command) as process:  # noqa: S603 - the project's own
        try:
            pod = on("virtual", "over", annotations={RUN_SECONDS: "0"}, tolerations=[])
            pod["metadata"]["labels"] = {"virtual-node-affinity-injection": "enabled"}
            make(testbed, pod)
            eventually(lambda: found(testbed, "pod", "over").get("status", {}).get("phase") == "Succeeded")
            make(testbed, on("virtual", "deleted"))
            eventually(lambda: found(testbed, "pod", "deleted").get("status", {}).get("phase") == "Running")
            assert "began" in done(testbed, "logs", "deleted")
            port = found(testbed, "node", "virtual")["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            assert said(port, get("/pods", "Authorization: Bearer none")).startswith(b"HTTP/1.1 401 ")
            done(testbed, "delete", "pod", "deleted")
            done(testbed, "delete", "node", "virtual")
            eventually(lambda: found(testbed, "node", "virtual"))
        finally:
            process.kill()
    with subprocess.Popen(command) as process:  # noqa: S603 - a second one finds its node there
        make(testbed, on("virtual", "after", annotations={RUN_SECONDS: "0"}))
        eventually(lambda: found(testbed, "pod", "after").get("status", {}).get("phase") == "Succeeded")
        process.terminate()
    log = testbed.log("audit")
    assert refused(log, USER) == set()
    objects = helm.rendered(NEAPTIDE, ON, release="neaptide")
    may = granted({key: each for key, each in objects.items() if key == ("ClusterRole", ACCOUNT)})
    did = {each for each in used(log, USER) if (each.resource, each.verb) != ("configmaps", "get")}
    assert {str(each) for each in did - may} == set()
    assert {str(each) for each in may - did} == set()


def _kubeconfig(testbed: Testbed, directory: Path) -> Path:
    """As the virtual node's account."""
    config = json.loads(testbed.kubeconfig.read_text(encoding="utf-8"))
    token = done(testbed, "create", "token", ACCOUNT, "--namespace=tide").strip()
    config["users"][0]["user"] = {"token": token}
    path = directory / "account.kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    path.chmod(0o600)
    return path
