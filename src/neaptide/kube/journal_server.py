"""The journal over TLS, for `neaptide explain` from outside the pod: on the pod's own loopback address, which a port-forward reaches.

Who asks shows a token of the cluster; the API server says whose it is (TokenReview) and whether they may (SubjectAccessReview: get on the path
/journal). The authority of the server's certificate stands in a ConfigMap, for whoever is to trust it.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from neaptide.kube.decisions import Past, about, decisions
from neaptide.kubeapi import certificates
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError, NotFound
from neaptide.kubeapi.keys import Keys
from neaptide.kubeapi.resources import CONFIG_MAPS, SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from neaptide.kubeapi.server import TlsServer
from neaptide.model.actions import Ref

PATH = "/journal"
OBJECTS = "objects"
"""The parameter: Kind/namespace/name or Kind/name, by commas."""
NEWEST = 10_000
"""So many decisions are told, the newest ones."""
_NAMES = ("localhost", "127.0.0.1", "::1")


class JournalPlace(Struct, frozen=True, kw_only=True):
    """Where the journal is served.

    Attributes:
        namespace: of the Secret and the ConfigMap.
        secret: holds the certificate and the authority; made where it is not there.
        authority: the ConfigMap with `ca.crt`.
        host: address to listen on.
        port: 0 for one that is free.
    """

    namespace: str
    secret: str = "neaptide-journal-tls"  # noqa: S105 - the name of a Secret
    authority: str = "neaptide-journal-ca"
    host: str = "127.0.0.1"
    port: int = 9444


def spelt(refs: Iterable[Ref]) -> str:
    """Objects as the parameter has them."""
    return ",".join(
        f"{ref.kind}/{ref.namespace}/{ref.name}" if ref.namespace else f"{ref.kind}/{ref.name}" for ref in refs
    )


async def serve(client: Client, directory: Path, place: JournalPlace) -> None:
    """Answer until cancelled. Raises ApiError where the certificate cannot be stored, OSError where the port is taken."""
    app = JournalServer(client, directory).app
    keys = await certificates.ensure(client, place.secret, place.namespace, _NAMES)
    async with TlsServer(app, keys, host=place.host, port=place.port) as server:

        async def exchange(keys: Keys) -> None:
            server.exchange(keys)
            await _publish(client, place, keys.bundle.decode())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.ended())
            tasks.create_task(certificates.keep(client, place.secret, place.namespace, _NAMES, exchange=exchange))


class JournalServer:
    """Answers who may ask.

    Args:
        client: to ask the API server about tokens and rights.
        directory: of the journal.

    Attributes:
        app: the application to serve.
    """

    def __init__(self, client: Client, directory: Path) -> None:
        self._client, self._directory = client, directory
        self._one = asyncio.Semaphore(1)
        self._log = structlog.get_logger()
        self.app = Starlette(routes=[Route(PATH, self._answer)])

    async def _answer(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return Response("a bearer token of the cluster is wanted\n", status_code=401)
        try:
            user = await self._user(token.strip())
            if user is None:
                return Response("the API server does not know this token\n", status_code=401)
            if not await self._may(user):
                why = f"{user.username} may not get the path {PATH}: the chart's ClusterRole that ends with -journal-reader gives it\n"
                return Response(why, status_code=403)
        except ApiError as error:
            self._log.warning("nobody could say who asks for the journal", reason=str(error))
            return Response("the API server cannot be asked who this is\n", status_code=503)
        refs = _refs(request.query_params.get(OBJECTS, ""))
        if refs is None:
            return Response(f"{OBJECTS} is wanted: Kind/namespace/name or Kind/name, by commas\n", status_code=400)
        async with self._one:
            past = await asyncio.to_thread(decisions, self._directory, about(refs)) or Past()
        told = msgspec.structs.replace(past, decisions=past.decisions[-NEWEST:])
        return Response(msgspec.json.encode(told), media_type="application/json")

    async def _user(self, token: str) -> "_User | None":
        body = _review(TOKEN_REVIEWS.api_version, TOKEN_REVIEWS.kind, {"token": token})
        status = msgspec.json.decode(await self._client.create(TOKEN_REVIEWS, body), type=_TokenReview).status
        return status.user if status.authenticated else None

    async def _may(self, user: "_User") -> bool:
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": user.groups,
            "extra": user.extra,
            "nonResourceAttributes": {"path": PATH, "verb": "get"},
        }
        body = _review(SUBJECT_ACCESS_REVIEWS.api_version, SUBJECT_ACCESS_REVIEWS.kind, spec)
        answer = await self._client.create(SUBJECT_ACCESS_REVIEWS, body)
        return msgspec.json.decode(answer, type=_AccessReview).status.allowed


async def _publish(client: Client, place: JournalPlace, bundle: str) -> None:
    body: dict[str, Any] = {"metadata": {"name": place.authority}, "data": {"ca.crt": bundle}}
    try:
        await client.replace(CONFIG_MAPS, place.authority, body, place.namespace)
    except NotFound:
        await client.create(CONFIG_MAPS, body, place.namespace)


def _refs(text: str) -> list[Ref] | None:
    """The objects of the parameter; None where it cannot be used."""
    refs = []
    for each in text.split(","):
        match each.split("/"):
            case [kind, namespace, name] if kind and name:
                refs.append(Ref(kind, name, namespace))
            case [kind, name] if kind and name:
                refs.append(Ref(kind, name))
            case _:
                return None
    return refs


def _review(api_version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "spec": spec}


class _User(Struct):
    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class _TokenStatus(Struct):
    authenticated: bool = False
    user: _User = msgspec.field(default_factory=_User)


class _TokenReview(Struct):
    status: _TokenStatus


class _AccessStatus(Struct):
    allowed: bool = False


class _AccessReview(Struct):
    status: _AccessStatus
