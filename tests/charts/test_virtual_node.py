"""The virtual node's StatefulSet: its flags are the command's, and its account may do what it does and not one verb more."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tests.charts.helm import NEAPTIDE, Helm, Objects
from tests.charts.rights import Right, assert_exact, granted, kubeconfig_of
from tests.controlplane import running
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done
from tests.virtualnode.test_serving import get, said
from tests.virtualnode.virtual import on

from neaptide.cli.virtual_node import BillFlags, KubeletFlags, virtual_node
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.images import BUSYBOX
from neaptide.virtualnode.providers.cluster.translate import SERVICES

ON = "--set=virtualNode.enabled=true"
ACCOUNT = "neaptide-virtual-node"
CONTAINERD = "--set=virtualNode.provider=containerd"
SOCKET = "/run/containerd/containerd.sock"
AUTHORITY = frozenset({Right("", "configmaps", "get")})
"""By its binding in kube-system, it reads the authority of the API server's client certificate."""


def test_no_virtual_node_runs_until_it_is_asked_for(helm: Helm) -> None:
    assert ("StatefulSet", "tide-virtual-node") not in helm.rendered(NEAPTIDE)


def test_its_flags_are_the_commands(helm: Helm) -> None:
    objects = helm.rendered(NEAPTIDE, ON, "--set=virtualNode.overflow=false,virtualNode.labels.zone=b")
    (container,) = objects["StatefulSet", "tide-virtual-node"]["spec"]["template"]["spec"]["containers"]
    flags = {each.partition("=")[0].removeprefix("--").removeprefix("no-") for each in container["args"][1:]}
    known = {*(virtual_node.__kwdefaults__ or ()), *vars(BillFlags()), *vars(KubeletFlags()), "name", "provider"}
    assert flags <= known
    assert "--label=zone=b" in container["args"]


def test_the_provider_containerd_is_refused_without_the_path_of_the_socket(helm: Helm) -> None:
    assert "virtualNode.containerd.socket is empty" in helm.refused("template", "tide", NEAPTIDE, ON, CONTAINERD)


def test_the_provider_containerd_has_its_nodes_socket_and_a_folder_and_nothing_more_of_the_node(helm: Helm) -> None:
    pod = pod_of(helm.rendered(NEAPTIDE, ON, CONTAINERD, f"--set=virtualNode.containerd.socket={SOCKET}"))
    (container,) = pod["containers"]
    paths = {each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    assert paths == {SOCKET, "/var/lib/neaptide-pods"}
    assert paths <= {each["mountPath"] for each in container["volumeMounts"]}
    assert pod["securityContext"] == {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not any(pod.get(each) for each in ("hostPID", "hostNetwork", "hostIPC"))


@pytest.mark.parametrize("values", [(), ("--set=virtualNode.provider=cluster",)], ids=["simulated", "cluster"])
def test_the_other_providers_have_nothing_of_their_node(helm: Helm, values: tuple[str, ...]) -> None:
    pod = pod_of(helm.rendered(NEAPTIDE, ON, *values))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert not any("hostPath" in each for each in pod["volumes"])


def test_the_kubeconfig_of_the_other_cluster_comes_from_a_secret(helm: Helm) -> None:
    values = ("--set=virtualNode.provider=cluster,virtualNode.kubeconfigSecret=other",)
    pod = pod_of(helm.rendered(NEAPTIDE, ON, *values))
    assert [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each] == ["other"]
    assert "/etc/neaptide-cluster" in {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}


def rights(helm: Helm, *values: str) -> set[Right]:
    """What the chart gives the account for the whole cluster."""
    objects = helm.rendered(NEAPTIDE, ON, *values, release="neaptide")
    return granted({key: each for key, each in objects.items() if key == ("ClusterRole", ACCOUNT)})


def pod_of(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = objects["StatefulSet", "tide-virtual-node"]["spec"]["template"]["spec"]
    return spec


class Case(NamedTuple):
    """A provider: its settings, the chart's values for it, and what a container of its pods is."""

    settings: dict[str, Any]
    values: tuple[str, ...]
    container: dict[str, Any]


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """The provider that the test names."""
    image = {"image": "local.test/image:1"}
    provider = (f"--set=virtualNode.provider={request.param}",)
    if request.param == "simulated":
        yield Case({"startSeconds": 0, "secondsPerMb": 0}, provider, image)
    elif request.param == "cluster":
        with contextmanager(running)(tmp_path / "other") as other:
            add_nodes(other.site, [fake_node("there", {}, {"cpu": "4", "memory": "8Gi", "pods": "9"})])
            yield Case({"kubeconfig": str(other.kubeconfig), "owner": "tide"}, provider, image)
    else:
        host: ContainerHost = request.getfixturevalue("container_host")
        place = {"endpoint": host.endpoint, "root": str(host.root), "cgroupParent": host.cgroup_parent}
        here = {"name": "host", "state": "/var/lib/tide", "cpu": "4", "memory": "8Gi", **place}
        values = (*provider, f"--set=virtualNode.containerd.socket={SOCKET}")
        sleeps = {"image": BUSYBOX.name, "imagePullPolicy": "Never", "command": ["sleep", "1000"]}
        yield Case({"hosts": [here], "owner": "tide"}, values, sleeps)


OBJECTS: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    },
)
"""What the pods refer to."""


@pytest.mark.slow
@pytest.mark.parametrize("case", ["simulated", "cluster", "containerd"], indirect=True)
def test_the_account_may_do_what_the_virtual_node_does_and_not_one_verb_more(
    own_control_plane: Testbed, helm_in: Callable[[Path], Helm], tmp_path: Path, case: Case
) -> None:
    testbed, helm = own_control_plane, helm_in(own_control_plane.kubeconfig)
    off = "replicas=0,journal.persistence=false,admission.webhook=false,virtualNode.persistence=false"
    place = ("--namespace=tide", "--create-namespace")
    helm.done("install", "neaptide", NEAPTIDE, *place, f"--set={off}", ON, *case.values)
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(case.settings))
    provider = case.values[0].rpartition("=")[2]
    flags = ["--name=virtual", f"--provider={provider}", f"--settings={settings}", "--address=127.0.0.1", "--port=0"]
    flags += ["--identity=one", f"--kubeconfig={kubeconfig_of(testbed, tmp_path, ACCOUNT)}"]
    command = [sys.executable, "-m", "neaptide", "virtual-node", *flags]
    make(testbed, *OBJECTS, namespace="default")

    def pod(name: str, **spec: Any) -> dict[str, Any]:
        refers = {"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}]}
        resources = {"requests": {"cpu": "100m", "memory": "32Mi"}}
        container = {"name": "main", "resources": resources, **refers, **case.container}
        usual = {"serviceAccountName": "robot", "terminationGracePeriodSeconds": 1}
        return on("virtual", name, annotations={SERVICES: "web"}, containers=[container], **usual, **spec)

    def runs(name: str) -> bool:
        return bool(found(testbed, "pod", name).get("status", {}).get("phase") == "Running")

    with subprocess.Popen(command) as process:  # noqa: S603 - the project's own
        try:
            over = pod("over", tolerations=[])
            over["metadata"]["labels"] = {"virtual-node-affinity-injection": "enabled"}
            make(testbed, over, pod("deleted"))
            eventually(lambda: runs("over") and runs("deleted"))
            testbed.kubectl(("logs", "deleted"))  # whether there are any is the provider's affair
            port = found(testbed, "node", "virtual")["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            assert said(port, get("/pods", "Authorization: Bearer none")).startswith(b"HTTP/1.1 401 ")
            done(testbed, "delete", "pod", "deleted", "--timeout=90s")
            done(testbed, "delete", "node", "virtual")
            eventually(lambda: found(testbed, "node", "virtual"))
        finally:
            process.kill()
    with subprocess.Popen(command) as process:  # noqa: S603 - a second one finds its node there
        try:
            make(testbed, pod("after"))
            eventually(lambda: runs("after"))
            done(testbed, "delete", "pods", "--all", "--timeout=90s")
        finally:
            process.terminate()
    assert_exact(testbed, ACCOUNT, rights(helm, *case.values), besides=AUTHORITY)
