"""kubectl on a pod of a virtual node that runs in a real container: through the real API server, our kubelet and containerd's streaming server."""

import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done
from tests.virtualnode.containerd.pods import alone
from tests.virtualnode.virtual import on, outside

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.images import BUSYBOX

NODE = "vk-kubectl"
SCRIPT = "echo hello; mkdir /www; echo page >/www/index.html; httpd -p 8080 -h /www; cat; sleep 1000"


@pytest.fixture
def pod(control_plane: Testbed, namespace: str, container_host: ContainerHost) -> Iterator[str]:
    """The namespace of the pod `web`, which runs."""
    with outside() as beside:
        provider = beside.do(_made(container_host))
        with beside.kubelet(control_plane, NODE, provider):
            container = {"name": "main", "image": BUSYBOX.name, "command": ["sh", "-c", SCRIPT], "stdin": True}
            pod = on(
                NODE, "web", containers=[container], automountServiceAccountToken=False, terminationGracePeriodSeconds=1
            )
            make(control_plane, pod, namespace=namespace)
            eventually(
                lambda: found(control_plane, "pod", "web", namespace)["status"].get("phase") == "Running", "it runs"
            )
            yield namespace
            done(control_plane, "delete", "pod", "web", "--namespace", namespace, "--timeout=60s")
        beside.do(provider.close())
        done(control_plane, "delete", "node", NODE, "--wait=false")


async def _made(host: ContainerHost):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a provider, made within the loop that it lives in
    return alone(host, "kubectl")


def test_logs_exec_cp_port_forward_and_attach_work(control_plane: Testbed, pod: str, tmp_path: Path) -> None:
    inside = ("--namespace", pod)
    eventually(lambda: done(control_plane, "logs", "web", *inside) == "hello\n", "it says so")
    assert done(control_plane, "exec", "web", *inside, "--", "cat", "/www/index.html") == "page\n"
    assert done(control_plane, "exec", "-i", "web", *inside, "--", "wc", "-c", content="twelve chars").strip() == "12"
    failing = control_plane.kubectl(["exec", "web", *inside, "--", "sh", "-c", "exit 7"])
    assert failing.returncode == 7
    (tmp_path / "there.txt").write_text("carried")
    done(control_plane, "cp", *inside, str(tmp_path / "there.txt"), "web:/www/there.txt")
    done(control_plane, "cp", *inside, "web:/www/there.txt", str(tmp_path / "back.txt"))
    assert (tmp_path / "back.txt").read_text() == "carried"
    assert forwarded(control_plane, pod) == b"page\n"
    done(control_plane, "attach", "-i", "web", *inside, content="typed\n")
    eventually(lambda: "typed" in done(control_plane, "logs", "web", *inside), "what was typed reaches the container")


def forwarded(testbed: Testbed, namespace: str) -> bytes:
    """What the pod's port answers through kubectl port-forward."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program, environment = testbed.kubectl_command()
    command = [program, "port-forward", "pod/web", f"{port}:8080", "--namespace", namespace]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:  # noqa: S603 - the testbed's own
        try:
            assert process.stdout is not None
            assert b"Forwarding" in process.stdout.readline()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                content: bytes = answer.read()
        finally:
            process.terminate()
    return content
