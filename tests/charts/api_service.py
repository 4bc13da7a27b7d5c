"""The Service `kubernetes` for pods on real nodes, which have no kube-proxy: its address on this machine, and who listens there passes all on to the API server."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from urllib.parse import urlsplit

from neaptide.testbed.cluster import Testbed

_ADDRESS = ("10.96.0.1", 443)
_DEVICE = "lo"


@contextmanager
def served(testbed: Testbed) -> Iterator[None]:
    """Inside, pods reach the API server where their environment says."""
    server = urlsplit(testbed.site.address("kube-apiserver"))
    own = [f"{_ADDRESS[0]}/32", "dev", _DEVICE]
    _ip("address", "replace", *own)
    try:
        with socket.create_server(_ADDRESS) as listening:
            Thread(target=_serve, args=(listening, (server.hostname, server.port)), daemon=True).start()
            yield
            listening.shutdown(socket.SHUT_RDWR)
    finally:
        _ip("address", "delete", *own)


def _serve(listening: socket.socket, server: tuple[str | None, int | None]) -> None:
    with suppress(OSError):
        while True:
            asking, _ = listening.accept()
            Thread(target=_converse, args=(asking, server), daemon=True).start()


def _converse(asking: socket.socket, server: tuple[str | None, int | None]) -> None:
    with asking, suppress(OSError), socket.create_connection(server) as answering:
        back = Thread(target=_pass_on, args=(answering, asking), daemon=True)
        back.start()
        _pass_on(asking, answering)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(1 << 16):
            target.sendall(some)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)  # noqa: S603, S607 - the system's
