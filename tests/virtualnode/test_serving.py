"""The API of a virtual node's kubelet, asked through the real API server, and by who may not."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done, refused
from tests.virtualnode.virtual import AT_ONCE, on, outside

from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.provider import ExecOptions, StreamTarget
from neaptide.virtualnode.providers.simulated import EXIT_CODE, RUN_SECONDS, Simulated

NODE = "vk-serves"


class Streaming(Simulated):
    """Simulated pods, whose streams are a server's that says what it was asked and then echoes."""

    def __init__(self, port: int) -> None:
        super().__init__(AT_ONCE)
        self._port = port

    async def exec(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        del uid
        said = "-".join((container, *options.command))
        return StreamTarget(f"http://127.0.0.1:{self._port}/token/{said}", {"X-Extra": "yes"})

    async def port_forward(self, uid: str, ports: Sequence[int]) -> StreamTarget:
        del uid, ports
        return StreamTarget("http://127.0.0.1:1/nobody-listens-here")


@contextmanager
def echoing() -> Iterator[int]:
    """A streaming server: it answers 101, repeats the request it got, and then echoes until its client ends."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n" + head
                )
                while chunk := connection.recv(65536):
                    connection.sendall(chunk)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(60)


@pytest.fixture(scope="module")
def served(control_plane: Testbed) -> Iterator[int]:
    """The port of a virtual node's kubelet; its pods `runs` and `ends` are in the namespace default."""
    with echoing() as port, outside() as beside, beside.kubelet(control_plane, NODE, Streaming(port)):
        make(control_plane, on(NODE, "runs"), on(NODE, "ends", annotations={RUN_SECONDS: "0", EXIT_CODE: "3"}))
        eventually(
            lambda: found(control_plane, "pod", "runs", "default")["status"].get("phase") == "Running", "it runs"
        )
        eventually(
            lambda: found(control_plane, "pod", "ends", "default")["status"].get("phase") == "Failed", "it ended"
        )
        node = found(control_plane, "node", NODE)
        yield int(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"])
        done(control_plane, "delete", "pod", "runs", "ends", "--namespace=default", "--timeout=180s")
        done(control_plane, "delete", "node", NODE, "--wait=false")


def said(port: int, request: bytes, *, user: str = "", testbed: Testbed | None = None) -> bytes:
    """The answer of a kubelet to bytes, as it comes until the connection ends; as a user of the testbed's PKI."""
    with tls(port, user=user, testbed=testbed) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def tls(port: int, *, user: str = "", testbed: Testbed | None = None) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if user and testbed:
        pki = Path(testbed.site.pki(user))
        context.load_cert_chain(f"{pki}.crt", f"{pki}.key")
    plain = socket.create_connection(("127.0.0.1", port), 60)
    return context.wrap_socket(plain)


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: k", "Connection: close", *headers, "", ""]).encode()


def test_kubectl_logs_shows_what_a_container_wrote(control_plane: Testbed, served: int) -> None:
    assert served
    assert done(control_plane, "logs", "ends", "--namespace=default") == "main began\nmain ended with 3\n"
    assert done(control_plane, "logs", "ends", "--namespace=default", "--tail=1") == "main ended with 3\n"
    assert done(control_plane, "logs", "ends", "--namespace=default", "--limit-bytes=4") == "main"
    assert done(control_plane, "logs", "runs", "--namespace=default", "--timestamps").split("Z ")[1] == "main began\n"
    assert 'previous terminated container "main"' in refused(control_plane, "logs", "runs", "-p", "--namespace=default")


def test_what_a_provider_cannot_do_is_said_to_the_user(control_plane: Testbed, served: int) -> None:
    assert served
    assert "has no streams to attach to" in refused(control_plane, "attach", "runs", "--namespace=default")


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        pytest.param("/containerLogs/default/gone/main", 404, "does not exist on this node", id="no such pod"),
        pytest.param("/containerLogs/default/runs/other", 404, 'container "other" not found', id="no such container"),
        pytest.param(
            "/containerLogs/default/runs/main?tailLines=x", 400, "tailLines: 'x' is not accepted", id="no number"
        ),
        pytest.param("/containerLogs/default/runs/main?sinceTime=now", 400, "'now' is not accepted", id="no time"),
        pytest.param("/nothing", 404, "404 page not found", id="no such path"),
        pytest.param("/portForward/default/runs", 502, "streaming server cannot be reached", id="nobody listens there"),
        pytest.param("/metrics/resource", 200, "scrape_error 0", id="metrics"),
        pytest.param("/healthz", 200, "ok", id="health"),
    ],
)
def test_answers_by_path(control_plane: Testbed, served: int, path: str, status: int, body: str) -> None:
    answer = said(served, get(path), user="apiserver-kubelet-client", testbed=control_plane).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert body in answer


def test_pods_and_their_use_are_listed(control_plane: Testbed, served: int) -> None:
    for path, read in (("/pods", "items"), ("/runningpods/", "items"), ("/stats/summary", "pods")):
        answer = said(served, get(path), user="apiserver-kubelet-client", testbed=control_plane)
        names = {
            (each.get("podRef") or each["metadata"])["name"]
            for each in json.loads(answer.split(b"\r\n\r\n", 1)[1])[read]
        }
        assert "runs" in names, path


def test_who_is_not_known_or_not_allowed_is_refused(control_plane: Testbed, served: int) -> None:
    assert said(served, get("/pods")).startswith(b"HTTP/1.1 401 ")
    assert said(served, get("/pods", "Authorization: Bearer nonsense")).startswith(b"HTTP/1.1 401 ")
    token = done(control_plane, "create", "token", "default", "--namespace=default").strip()
    answer = said(served, get("/pods", f"Authorization: Bearer {token}"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"system:serviceaccount:default:default" in answer
    assert said(served, get("/pods"), user="scheduler", testbed=control_plane).startswith(b"HTTP/1.1 403 ")


def test_an_upgraded_connection_is_led_to_the_providers_streaming_server(control_plane: Testbed, served: int) -> None:
    request = (
        b"POST /exec/default/runs/main?command=echo&command=a%20b&input=1&output=1 HTTP/1.1\r\nHost: k\r\nContent-Length: 0\r\n"
        b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
        b"Authorization: Bearer secret\r\n\r\nearly"
    )
    with tls(served, user="apiserver-kubelet-client", testbed=control_plane) as connection:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"early"):
            answer += connection.recv(65536)
        connection.sendall(b"\x80\x03late")
        while not answer.endswith(b"\x80\x03late"):
            answer += connection.recv(65536)
    head = answer.split(b"\r\n\r\n")[1].decode()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert head.startswith("POST /token/main-echo-a b HTTP/1.1") or "/token/main-echo-a" in head
    assert "X-Stream-Protocol-Version: v4.channel.k8s.io" in head
    assert "X-Extra: yes" in head
    assert "secret" not in head
