"""Asks a cluster what `doctor` wants to know besides its nodes and pods."""

import asyncio
import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from neaptide.kube.doctor.finding import Right
from neaptide.kube.doctor.rights import NEEDED
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import allowed, served
from neaptide.kubeapi.errors import ApiError, Forbidden, NotFound
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import LEASES, MUTATING_WEBHOOKS, POLICIES, VALIDATING_WEBHOOKS, Resource
from neaptide.model.objects import Metadata
from neaptide.model.times import seconds

_FAIL_OPEN = re.compile(r'apiserver_admission_webhook_fail_open_count\{name="(?P<name>[^"]*)"[^}]*\} (?P<count>\S+)')


class Asked(Struct, frozen=True):
    """The answers; see Seen."""

    served: frozenset[Resource]
    leases: Mapping[str, tuple[str, float]] | None
    rights: Mapping[Right, bool]
    fail_open: Mapping[str, float] | None
    webhooks: Mapping[str, str]
    policies: Mapping[str, bytes] | None


async def ask(client: Client, namespace: str) -> Asked:
    """Everything at once. What may not be seen is empty. Raises ApiError."""
    rights, there, leases, fail_open, webhooks, policies = await asyncio.gather(
        _rights(client, namespace),
        served(client),
        _leases(client),
        _fail_open(client),
        _webhooks(client),
        _policies(client),
    )
    return Asked(frozenset(there), leases, rights, fail_open, webhooks, policies)


async def _rights(client: Client, namespace: str) -> dict[Right, bool]:
    """Rights count that are given in the namespace only, too."""

    async def given(right: Right) -> bool:
        for scope in ("", namespace) if right.resource.namespaced else ("",):
            if await allowed(client, right.verb, right.resource, scope, right.subresource):
                return True
        return False

    return dict(zip(NEEDED, await asyncio.gather(*map(given, NEEDED)), strict=True))


class _LeaseSpec(Struct, rename="camel"):
    holder_identity: str | None = None
    renew_time: str | None = None


class _Lease(Struct):
    metadata: Metadata = field(default_factory=Metadata)
    spec: _LeaseSpec = field(default_factory=_LeaseSpec)


async def _leases(client: Client) -> dict[str, tuple[str, float]] | None:
    """Those of elections; the leases of nodes are left out. None where they may not be listed."""
    found = {}
    try:
        pages = [page async for page in client.list(LEASES)]
    except Forbidden:
        return None
    for page in pages:
        for lease in items_of(page, _Lease):
            if lease.metadata.namespace != "kube-node-lease":
                key = f"{lease.metadata.namespace}/{lease.metadata.name}"
                found[key] = (lease.spec.holder_identity or "", seconds(lease.spec.renew_time))
    return found


async def _fail_open(client: Client) -> dict[str, float] | None:
    try:
        text = (await client.raw("GET", "/metrics", accept="*/*")).decode()
    except ApiError:
        return None
    counts: dict[str, float] = {}
    for match in _FAIL_OPEN.finditer(text):
        counts[match["name"]] = counts.get(match["name"], 0.0) + float(match["count"])
    return counts


class _Rule(Struct):
    resources: list[str] = []


class _Webhook(Struct, rename="camel"):
    name: str = ""
    failure_policy: str = "Fail"
    rules: list[_Rule] = []


class _Configuration(Struct):
    webhooks: list[_Webhook] = []


async def _webhooks(client: Client) -> dict[str, str]:
    """The webhooks that are asked about pods."""
    found = {}
    for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
        try:
            pages = [page async for page in client.list(resource)]
        except Forbidden:
            continue
        for page in pages:
            for configuration in items_of(page, _Configuration):
                for hook in configuration.webhooks:
                    if any(name in ("pods", "*", "*/*") for rule in hook.rules for name in rule.resources):
                        found[hook.name] = hook.failure_policy
    return found


class _Named(Struct):
    metadata: Metadata = field(default_factory=Metadata)


async def _policies(client: Client) -> dict[str, bytes] | None:
    """The Policy objects; empty where their kind is not installed, None where they may not be read."""
    try:
        pages = [page async for page in client.list(POLICIES)]
    except NotFound:
        return {}
    except Forbidden:
        return None
    raws = [bytes(raw) for page in pages for raw in items_of(page)]
    return {msgspec.json.decode(raw, type=_Named).metadata.name: raw for raw in raws}
