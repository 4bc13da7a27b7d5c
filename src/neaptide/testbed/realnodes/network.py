"""A node's bridge: its address is the node's, its pods hang on it, and the machine's own settings stay as they are."""

import fcntl
import ipaddress
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes.host import search_path

_POOL = ipaddress.IPv4Network("198.18.0.0/15")
"""What RFC 2544 sets aside for tests of network devices: no cluster's and no company's addresses."""

Subnet = ipaddress.IPv4Network


@contextmanager
def choosing() -> Iterator[None]:
    """Until this ends, nobody else on this machine chooses a subnet."""
    folder = os.open("/run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def free_subnet(taken: Sequence[Subnet] = ()) -> Subnet:
    """A /24 of the pool that no address and no route of this machine touches.

    Raises:
        TestbedError: there is none left.
    """
    used = [*taken, *_routed()]
    for candidate in _POOL.subnets(new_prefix=24):
        if not any(candidate.overlaps(each) for each in used):
            return candidate
    raise TestbedError(f"every part of {_POOL} is in use on this machine; see `ip route show table all`")


def address(subnet: Subnet) -> str:
    """The node's own, and its pods' gateway."""
    return str(subnet[1])


def create(bridge: str, subnet: Subnet) -> None:
    """Make a bridge, and let what comes in on it be forwarded: to other nodes' pods, without a switch for the whole machine."""
    _ip("link", "add", bridge, "type", "bridge")
    _ip("address", "add", f"{address(subnet)}/{subnet.prefixlen}", "dev", bridge)
    _ip("link", "set", bridge, "up")
    Path(f"/proc/sys/net/ipv4/conf/{bridge}/forwarding").write_text("1")


def destroy(bridge: str) -> None:
    """Remove a bridge and the pods' ends of what hangs on it; nothing happens where it is gone."""
    if bridge not in names(bridge):
        return
    for link in json.loads(_ip("-json", "link", "show", "master", bridge)):
        _ip("link", "delete", link["ifname"], check=False)  # the pod's namespace may be going with it right now
    _ip("link", "delete", bridge)


def names(prefix: str) -> set[str]:
    """The bridges whose names begin so."""
    links = json.loads(_ip("-json", "link", "show", "type", "bridge") or "[]")
    return {link["ifname"] for link in links if link.get("ifname", "").startswith(prefix)}


def _routed() -> Iterator[Subnet]:
    for route in json.loads(_ip("-json", "-4", "route", "show", "table", "all")):
        if route["dst"] != "default":
            yield Subnet(route["dst"], strict=False)


def _ip(*arguments: str, check: bool = True) -> str:
    environment = {**os.environ, "PATH": search_path()}
    command = ["ip", *arguments]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if check and found.returncode:
        raise TestbedError(f"{' '.join(command)}: {found.stderr.strip()}")
    return found.stdout
