"""Who asks a kubelet, and whether they may: client certificates of the cluster's authority, or tokens; then a SubjectAccessReview.

Source of paths and attributes: kubernetes/kubernetes pkg/kubelet/server/auth.go. Stricter in one thing: exec, attach and portForward want `create`
on `nodes/proxy` also where they come as GET, as WebSockets do.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import CONFIG_MAPS, SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_STREAMS = ("exec", "attach", "portForward", "run")
_FINE = {"stats": "stats", "metrics": "metrics", "pods": "pods", "runningpods": "pods", "healthz": "healthz"}
_TRUSTED = ("extension-apiserver-authentication", "kube-system", "client-ca-file")
_YES_FOR, _NO_FOR = 300.0, 30.0
_MOST = 2000


class User(Struct, frozen=True):
    """Who asks; `extra` as the authenticator has it, sorted."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Access:
    """Finds out who a request is from and whether it is allowed; remembers answers for 5 minutes, refusals for 30 s, as kubelets do."""

    def __init__(self, client: Client, node: str) -> None:
        self._client, self._node = client, node
        self._known: dict[tuple[User, str, str], tuple[float, bool]] = {}
        self._tokens: dict[str, tuple[float, User | None]] = {}

    async def user(self, certificate: Mapping[str, Any] | None, authorization: str) -> User | None:
        """By a certificate that was verified, else by a bearer token; None where neither says anything. Raises ApiError."""
        if certificate:
            return user_of(certificate)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        now = asyncio.get_running_loop().time()
        until, user = self._tokens.get(token, (0.0, None))
        if now >= until:
            user = await self._reviewed(token)
            self._tokens = _pruned(self._tokens)
            self._tokens[token] = (now + (_YES_FOR if user else _NO_FOR), user)
        return user

    async def may(self, user: User, method: str, path: str) -> bool:
        """Whether the API server allows a user this request. Raises ApiError."""
        for verb, subresource in asked(method, path):
            key = (user, verb, subresource)
            now = asyncio.get_running_loop().time()
            until, allowed = self._known.get(key, (0.0, False))
            if now >= until:
                allowed = await self._allowed(user, verb, subresource)
                self._known = _pruned(self._known)
                self._known[key] = (now + (_YES_FOR if allowed else _NO_FOR), allowed)
            if allowed:
                return True
        return False

    async def _reviewed(self, token: str) -> User | None:
        body = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": {"token": token}}
        status = msgspec.json.decode(await self._client.create(TOKEN_REVIEWS, body)).get("status") or {}
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        extra = tuple(sorted((key, tuple(values)) for key, values in (user.get("extra") or {}).items()))
        return User(user.get("username") or "", tuple(user.get("groups") or ()), user.get("uid") or "", extra)

    async def _allowed(self, user: User, verb: str, subresource: str) -> bool:
        attributes = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        spec = {
            "user": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "extra": {key: list(values) for key, values in user.extra},
            "resourceAttributes": attributes,
        }
        body = {"apiVersion": SUBJECT_ACCESS_REVIEWS.api_version, "kind": SUBJECT_ACCESS_REVIEWS.kind, "spec": spec}
        answer = msgspec.json.decode(await self._client.create(SUBJECT_ACCESS_REVIEWS, body))
        return bool((answer.get("status") or {}).get("allowed"))


def user_of(certificate: Mapping[str, Any]) -> User:
    """The user of a verified client certificate: its common name, and its organisations as groups."""
    named: list[tuple[str, str]] = [pair for part in certificate.get("subject") or () for pair in part]
    name = next((value for key, value in named if key == "commonName"), "")
    groups = [value for key, value in named if key == "organizationName"]
    return User(name, (*groups, "system:authenticated"))


def asked(method: str, path: str) -> Sequence[tuple[str, str]]:
    """The (verb, subresource of nodes) of which one must be allowed."""
    first = path.strip("/").partition("/")[0]
    verb = "create" if first in _STREAMS else _VERBS.get(method, method.lower())
    fine = _FINE.get(first)
    if fine in ("stats", "metrics"):
        return [(verb, fine)]
    return [(verb, fine), (verb, "proxy")] if fine else [(verb, "proxy")]


async def client_authority(client: Client) -> bytes:
    """The authority of client certificates, in PEM, as the API server publishes it for servers such as this. Raises ApiError, KeyError."""
    name, namespace, entry = _TRUSTED
    found = msgspec.json.decode(await client.get(CONFIG_MAPS, name, namespace))
    return str(found["data"][entry]).encode()


def _pruned(known: dict[Any, Any]) -> dict[Any, Any]:
    return known if len(known) < _MOST else {}
