"""Which kinds are watched, with what rights allow, and how their events reach the cache."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

import structlog

from neaptide.kube.cache import Cache
from neaptide.kubeapi import resources
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import allowed, served
from neaptide.kubeapi.resources import Resource
from neaptide.kubeapi.watch import Bookmark, Changed, Event, Interrupted, Listed, Relisted, Removed, Synced, changes

ALWAYS = (
    resources.NODES,
    resources.PODS,
    resources.NAMESPACES,
    resources.DEPLOYMENTS,
    resources.REPLICA_SETS,
    resources.STATEFUL_SETS,
    resources.DAEMON_SETS,
    resources.JOBS,
    resources.CRON_JOBS,
    resources.REPLICATION_CONTROLLERS,
    resources.HORIZONTAL_POD_AUTOSCALERS,
    resources.POD_DISRUPTION_BUDGETS,
    resources.PRIORITY_CLASSES,
    resources.PERSISTENT_VOLUME_CLAIMS,
    resources.PERSISTENT_VOLUMES,
    resources.STORAGE_CLASSES,
    resources.CSI_NODES,
)
"""What every cluster serves."""
WHERE_SERVED = (resources.CLONE_SETS, resources.NODE_POOLS, resources.NODE_METRIC, resources.COLOCATION_PROFILES)
"""What comes with other projects."""


_log = structlog.get_logger()


class Stream(NamedTuple):
    """A kind and where it is watched: in one namespace, or in all where that is empty."""

    resource: Resource
    namespace: str


async def choose(client: Client, namespace: str, more: Sequence[Resource] = ()) -> tuple[list[Stream], list[str]]:
    """The streams that are there and allowed, and sentences on what cannot be seen.

    Args:
        client: the wire.
        namespace: where to look for what may not be seen in all namespaces.
        more: custom resources to watch besides, where they are served.
    """
    there = await served(client)
    wanted = [*ALWAYS, *(each for each in (*WHERE_SERVED, *more) if each in there)]
    found = await asyncio.gather(*(_scope(client, each, namespace) for each in wanted))
    streams = []
    unseen = [f"could not see {each.plural}: {each.api_version} is not served" for each in more if each not in there]
    for resource, scope in zip(wanted, found, strict=True):
        if scope is None:
            unseen.append(f"could not see {resource.plural}: list and watch are not allowed")
            continue
        streams.append(Stream(resource, scope))
        if resource.namespaced and scope:
            unseen.append(f"could not see {resource.plural} outside of the namespace {scope}")
    return streams, unseen


async def _scope(client: Client, resource: Resource, namespace: str) -> str | None:
    """The namespace to watch a kind in, empty for all; None where it may not be watched."""
    for scope in ("", namespace) if resource.namespaced and namespace else ("",):
        if await may_watch(client, resource, scope):
            return scope
    return None


async def may_watch(client: Client, resource: Resource, namespace: str = "") -> bool:
    """Whether a kind may be listed and watched in a namespace, in all where that is empty."""
    return all(await asyncio.gather(*(allowed(client, verb, resource, namespace) for verb in ("list", "watch"))))


async def follow(client: Client, stream: Stream, cache: Cache) -> None:
    """Put what a stream says into the cache, until cancelled."""
    async with aclosing(changes(client, stream.resource, namespace=stream.namespace)) as events:
        async for event in events:
            tell(cache, stream, event)


def tell(cache: Cache, stream: Stream, event: Event) -> None:
    """Put one event into the cache."""
    kind = stream.resource.kind
    match event:
        case Changed():
            cache.put(kind, event.raw)
        case Removed():
            cache.remove(kind, event.raw)
        case Bookmark():
            cache.heard(kind)
        case Listed():
            cache.page(kind, event.raw)
        case Relisted():
            cache.list_begins(kind)
            _log.info("listing", kind=kind, reason=event.reason)
        case Synced():
            cache.list_ends(kind)
        case Interrupted():
            cache.streams[kind].problem = str(event.error)
            _log.warning("watch interrupted", kind=kind, reason=str(event.error), pause=event.pause)
