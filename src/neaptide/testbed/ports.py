"""Free ports of the loopback address, below those that the kernel gives to connections: so a port stays free while its server restarts."""

import errno
import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from neaptide.testbed.errors import TestbedError

_LOWEST = 16384
_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def assign(names: Iterable[str], previous: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name: the previous one where it is still free.

    Raises:
        TestbedError: there are not enough.
    """
    below = int(_CONNECTIONS.read_text().split()[0]) if _CONNECTIONS.exists() else 32768
    drawn = iter(random.SystemRandom().sample(range(_LOWEST, below), below - _LOWEST))
    assigned: dict[str, int] = {}
    for name in names:
        candidates = (previous[name], *drawn) if name in previous else drawn
        port = next((port for port in candidates if port not in assigned.values() and is_free(port)), None)
        if port is None:
            raise TestbedError(f"no port from {_LOWEST} to {below - 1} is free for {name}")
        assigned[name] = port
    return assigned


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else the last one's closed connections count
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
