"""Follows another cluster's nodes and pods, and says which of ours have changed."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.following import follow
from neaptide.kubeapi.resources import NODES, PODS, Resource
from neaptide.model.objects import Node, Pod
from neaptide.virtualnode.providers.cluster.room import Remote
from neaptide.virtualnode.providers.cluster.translate import GONE, OWNER, UID

T = TypeVar("T", Node, Pod)


class Follower:
    """Keeps `remote` as the other cluster is, for as long as it runs.

    Args:
        client: the other cluster's.
        owner: whose pods are ours there.
        changed: called with the UID (the one here) of each of our pods that has changed.

    Attributes:
        ending: our pods that we have asked to end: how they ended stays known after they are gone there.
        remote: nodes and pods for decisions.
        ours: our pods there by their UID here, as JSON values.
        synced: set once both were read to the end.
    """

    def __init__(self, client: Client, owner: str, changed: Callable[[str], None]) -> None:
        self._client, self._owner, self._changed = client, owner, changed
        self.remote = Remote()
        self.ours: dict[str, dict[str, Any]] = {}
        self.ending: set[str] = set()
        self.synced = asyncio.Event()
        self._done: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(NODES, self._node))
            tasks.create_task(self._follow(PODS, self._pod))

    async def _follow(self, resource: Resource, take: Callable[[Raw | bytes, bool], str]) -> None:
        await follow(
            self._client,
            resource,
            sees=lambda raw: take(raw, True),
            gone=lambda raw: take(raw, False),
            only=lambda named: self._told(resource, named),
        )

    def _told(self, resource: Resource, named: set[str]) -> None:
        self.remote.keep(resource.kind, named)
        if resource is PODS:
            for uid, pod in list(self.ours.items()):
                if f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" not in named:
                    if uid in self.ending:
                        pod[GONE] = True
                    else:
                        del self.ours[uid]
                    self._changed(uid)
        self._done.add(resource.kind)
        if self._done == {"Node", "Pod"}:
            self.synced.set()

    def _node(self, raw: Raw | bytes, there: bool) -> str:
        node = msgspec.json.decode(raw, type=Node)
        if there:
            self.remote.set_node(node)
        else:
            self.remote.snapshot.remove_node(node.metadata.name)
        return node.metadata.name

    def _pod(self, raw: Raw | bytes, there: bool) -> str:
        pod = msgspec.json.decode(raw, type=Pod)
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        if there:
            self.remote.set_pod(pod)
        else:
            self.remote.snapshot.remove_pod(key)
        labels = pod.metadata.labels
        if labels.get(OWNER) == self._owner and UID in labels:
            self._take_ours(labels[UID], raw, there=there)
        return key

    def _take_ours(self, uid: str, raw: Raw | bytes, *, there: bool) -> None:
        if there:
            self.ours[uid] = msgspec.json.decode(raw)
        elif uid in self.ending:
            self.ours[uid] = msgspec.json.decode(raw) | {GONE: True}
        else:
            self.ours.pop(uid, None)
        self._changed(uid)
