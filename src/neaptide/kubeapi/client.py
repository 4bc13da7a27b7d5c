"""The verbs of the Kubernetes API, bytes in and bytes out."""

import copy
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Self

import aiohttp
import msgspec
from msgspec import Struct

from neaptide.kubeapi import errors
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.pace import TokenBucket
from neaptide.kubeapi.resources import PODS, Resource
from neaptide.kubeapi.transport import Call, Guard, Transport


class Patch(StrEnum):
    """Kinds of patches, by their content types. Server-side apply is `Client.apply`."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


_APPLY = "application/apply-patch+yaml"


class ListMeta(Struct, frozen=True, rename="camel"):
    """Metadata of a list: where the next page begins."""

    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(Struct, frozen=True):
    """Of a list only its metadata; the items are skipped."""

    metadata: ListMeta = ListMeta()


_SHOWN = 100
_page = msgspec.json.Decoder(_Page)


class Client:
    """Speaks to one API server; use it with `async with`.

    Each method raises ApiError (kubeapi.errors). Bodies are bytes of JSON, or what msgspec encodes.

    Args:
        cluster: where and as whom (kubeapi.config).
        field_manager: owner of the fields that this client writes.
        qps: requests a second, after `burst` at once.
        burst: requests that may go out at once.
        timeout: seconds for a request with all its tries.
        pipelined: share about so many connections among all requests (pipeline.py): for many small writes of one kind, whose answers may wait
            for each other. 0 gives each request under way a connection of its own.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        field_manager: str = "neaptide",
        qps: float = 50,
        burst: int = 100,
        timeout: float = 30,
        pipelined: int = 0,
    ) -> None:
        self.cluster = cluster
        self._manager, self._timeout = field_manager, timeout
        self._transport = Transport(cluster, TokenBucket(qps, burst), pipelined=pipelined)
        self._guard: Guard | None = None

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.__aexit__()

    def guarded_by(self, guard: Guard) -> Self:
        """This client, its connections and its rate, but each request is sent only while `guard` (an Election) allows it,
        and ends before the guard's allowance does. Else it raises LeaseLost. A stream only reads, and is not guarded.
        """
        guarded = copy.copy(self)
        guarded._guard = guard  # noqa: SLF001 - a copy of itself
        return guarded

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> bytes:
        return await self.raw("GET", resource.path(namespace, name, subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> AsyncIterator[bytes]:
        """The pages of a list, each the JSON of a list of at most `limit` objects (0: all at once).

        All pages are of one resource version. Raises Gone where the server forgot it before the last page: list anew.
        """
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(limit) if limit else ""}
        while True:
            page = await self.raw("GET", resource.path(namespace), query=query)
            metadata = list_metadata(page, resource.path(namespace))
            yield page
            query["continue"] = metadata.continue_
            if not query["continue"]:
                return

    async def create(
        self,
        resource: Resource,
        body: object,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """Create an object, or post to a subresource of the one named."""
        path = resource.path(namespace, name, subresource)
        return await self.raw("POST", path, body=body, query=self._write(dry_run=dry_run))

    async def replace(
        self,
        resource: Resource,
        name: str,
        body: object,
        namespace: str = "",
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """Put an object in the place of the one with its resource version; Conflict where that is another by now."""
        path = resource.path(namespace, name, subresource)
        return await self.raw("PUT", path, body=body, query=self._write(dry_run=dry_run))

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: object,
        namespace: str = "",
        *,
        kind: Patch = Patch.MERGE,
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """Change an object; a resource version or UID in the patch must be the object's, else Conflict."""
        path = resource.path(namespace, name, subresource)
        return await self.raw("PATCH", path, body=body, content_type=kind, query=self._write(dry_run=dry_run))

    async def apply(
        self,
        resource: Resource,
        name: str,
        body: object,
        namespace: str = "",
        *,
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> bytes:
        """Server-side apply. Conflict names in `causes` the fields that others own; `force` takes them over."""
        query = self._write(dry_run=dry_run) | {"force": "true" if force else ""}
        path = resource.path(namespace, name, subresource)
        return await self.raw("PATCH", path, body=body, content_type=_APPLY, query=query)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """Delete an object; Conflict where `uid` or `resource_version` are not its own. `propagation` as Background."""
        options = _options(uid, resource_version, grace_seconds, propagation, dry_run=dry_run)
        return await self.raw("DELETE", resource.path(namespace, name), body=options)

    async def evict(
        self, name: str, namespace: str, *, uid: str = "", grace_seconds: int | None = None, dry_run: bool = False
    ) -> bytes:
        """Evict a pod. Raises DisruptionBudgetExceeded where a budget forbids it now, NotFound where the pod is gone."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": _options(uid, "", grace_seconds, "", dry_run=dry_run),
        }
        query = {"dryRun": "All" if dry_run else ""}
        return await self.raw("POST", PODS.path(namespace, name, "eviction"), body=body, query=query)

    async def bind(
        self,
        name: str,
        namespace: str,
        node: str,
        *,
        uid: str = "",
        annotations: Mapping[str, str] = {},
        dry_run: bool = False,
    ) -> bytes:
        """Bind a pod to a node and give it annotations. Conflict where it is bound already or has another UID."""
        metadata = {"name": name, "namespace": namespace, "annotations": dict(annotations)}
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata | ({"uid": uid} if uid else {}),
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        path = PODS.path(namespace, name, "binding")
        return await self.raw("POST", path, body=body, query=self._write(dry_run=dry_run))

    async def raw(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] = {},
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline for all tries
    ) -> bytes:
        """Any request. Parameters of the query that are empty are left out."""
        call = Call(method, path, _present(query), _encoded(body), content_type, accept)
        return await self._transport.send(call, timeout=timeout or self._timeout, guard=self._guard)

    def stream(self, path: str, query: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.StreamReader]:
        """A body that is read as it comes, as of a watch."""
        return self._transport.stream(Call("GET", path, _present(query)), timeout=self._timeout)

    async def access(self) -> tuple[str, dict[str, str], ssl.SSLContext]:
        """The server's URL, and with which headers and certificates to speak to it: for who passes on a connection of another protocol."""
        headers, context = await self._transport.access()
        return self.cluster.server, headers, context

    def _write(self, *, dry_run: bool) -> dict[str, str]:
        return {"fieldManager": self._manager, "dryRun": "All" if dry_run else ""}


def list_metadata(page: bytes, path: str) -> ListMeta:
    """The metadata of a list. Raises Unavailable for what is none, as a proxy's page."""
    try:
        return _page.decode(page).metadata
    except msgspec.DecodeError as error:
        message = f"the answer is no list: {error}: {page[:_SHOWN]!r}"
        raise errors.Unavailable(200, "NoList", message, request=f"GET {path}") from None


def _encoded(body: object) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)


def _present(query: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in query.items() if value}


def _options(
    uid: str, resource_version: str, grace_seconds: int | None, propagation: str, *, dry_run: bool
) -> dict[str, Any]:
    """`v1.DeleteOptions`."""
    expected = {"uid": uid, "resourceVersion": resource_version}
    options = {
        "preconditions": {key: value for key, value in expected.items() if value},
        "propagationPolicy": propagation,
        "dryRun": ["All"] if dry_run else [],
    }
    found: dict[str, Any] = {key: value for key, value in options.items() if value}
    return found if grace_seconds is None else found | {"gracePeriodSeconds": grace_seconds}
