"""Tells the scheduler which CPUs a node has: in the annotation `node.koordinator.sh/cpu-topology` of the node, in Koordinator's form."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError
from neaptide.kubeapi.resources import NODES
from neaptide.noderules.cpuset import Cpu

ANNOTATION = "node.koordinator.sh/cpu-topology"

_AGAIN = 60.0


def topology_text(cpus: Sequence[Cpu]) -> str:
    """The annotation's text."""
    detail = [{"id": cpu.id, "core": cpu.core, "socket": cpu.socket, "node": cpu.numa} for cpu in cpus]
    return msgspec.json.encode({"detail": detail}).decode()


async def report_topology(client: Client, node: str, cpus: Sequence[Cpu], say: Callable[[str], None]) -> None:
    """Write it, however long the API server is away; where it is refused, pods that want CPUs of their own are not placed here."""
    told = False
    while True:
        try:
            await client.patch(NODES, node, {"metadata": {"annotations": {ANNOTATION: topology_text(cpus)}}})
        except ApiError as error:
            if not told:
                say(f"the node's CPUs could not be told to the scheduler, it is tried again: {error}")
            told = True
            await asyncio.sleep(_AGAIN)
        else:
            return
