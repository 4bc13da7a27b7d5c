"""A cluster looked at once: every kind that is read, listed, for commands that do not stay."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from neaptide.kube.streams import Stream, choose
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError, Gone, NotFound
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NODE_METRICS, POD_METRICS, Resource

_TRIES = 3


class Listing(NamedTuple):
    """What a cluster holds.

    Attributes:
        pages: the lists as the API server sent them, each with what it lists.
        unseen: sentences on what could not be seen.
        unmeasured: sentences on usage that metrics.k8s.io did not tell; nodes' agents may have.
    """

    pages: list[tuple[Resource, bytes]]
    unseen: list[str]
    unmeasured: list[str]

    def items(self) -> Iterator[bytes]:
        """Every object as JSON, with its kind and API version, which the items of a list do not carry."""
        for resource, page in self.pages:
            head = b'{"kind":"%s","apiVersion":"%s",' % (resource.kind.encode(), resource.api_version.encode())
            for raw in items_of(page):
                item = bytes(raw)
                yield item if _named.decode(item).kind else head + item[1:]


class _Named(Struct):
    kind: str = ""


_named = msgspec.json.Decoder(_Named)


async def look(client: Client, namespace: str = "") -> Listing:
    """List what there is and may be seen, usage from metrics.k8s.io included where that is served.

    Args:
        client: the wire.
        namespace: where to look for what may not be seen in all namespaces.

    Raises:
        ApiError: the API server could not be asked.
    """
    streams, unseen = await choose(client, namespace)
    pods = next((stream.namespace for stream in streams if stream.resource.kind == "Pod"), namespace)
    found = await asyncio.gather(*(_all(client, stream) for stream in streams))
    measured = await asyncio.gather(*(_metrics(client, Stream(kind, pods)) for kind in (NODE_METRICS, POD_METRICS)))
    problems = list(dict.fromkeys(each for each in measured if isinstance(each, str)))
    lists = [*found, *(each for each in measured if not isinstance(each, str))]
    return Listing([page for pages in lists for page in pages], unseen, problems)


async def _all(client: Client, stream: Stream) -> list[tuple[Resource, bytes]]:
    """Every page of a list; from the beginning again where the API server forgot its version before the end."""
    tries = 0
    while True:
        try:
            return [(stream.resource, page) async for page in client.list(stream.resource, stream.namespace)]
        except Gone:
            tries += 1
            if tries == _TRIES:
                raise


async def _metrics(client: Client, stream: Stream) -> list[tuple[Resource, bytes]] | str:
    try:
        return await _all(client, stream)
    except NotFound:
        return "could not see what is used: the cluster serves no metrics.k8s.io (metrics-server)"
    except ApiError as error:
        return f"could not see the usage of {stream.resource.plural}: {error.message or error.reason}"
