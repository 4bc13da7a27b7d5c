"""Counts the pods of units (the mode `spread` of virtualNodes) for the webhook: those the API shows, and those let in since.

A pod that was let in is shown by a watch a little later, and pods of one owner come in bursts. So those that this process let in are kept for
some seconds. Nothing is watched until a Policy asks for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from neaptide.admission.pipeline import RuleSetting
from neaptide.admission.virtual_names import UNIT
from neaptide.admission.virtual_nodes import SPREAD, VirtualNodes, VirtualNodesSpec
from neaptide.admission.virtual_units import Crowd, Known
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.following import follow
from neaptide.kubeapi.resources import PODS

NEW_FOR = 15.0
"""Seconds after which a pod that was let in is shown, or has come to nothing."""


class _Member(NamedTuple):
    namespace: str
    labels: Mapping[str, str]
    created: float


class Units:
    """What the rule is told of a namespace.

    Args:
        client: the wire.
        clock: seconds since the epoch.
    """

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.time) -> None:
        self._client, self._clock = client, clock
        self._members: dict[str, _Member] = {}
        self._given: deque[_Member] = deque()
        self._wanted, self._synced = asyncio.Event(), False

    def wanted_by(self, settings: Sequence[RuleSetting]) -> None:
        """Begin to count once some setting spreads pods."""
        if any(isinstance(each.spec, VirtualNodesSpec) and each.spec.mode == SPREAD for each in settings):
            self._wanted.set()

    def admitted(self, namespace: str, pod: Mapping[str, Any]) -> None:
        """A pod was let in with the labels that it has by now."""
        labels = pod["metadata"].get("labels") or {}
        if UNIT in labels:
            self._given.append(_Member(namespace, dict(labels), self._clock()))

    def known(self, namespace: str) -> dict[str, Known]:
        """By the rule's name; nothing before all pods were seen once."""
        if not self._synced:
            return {}
        since = self._clock() - NEW_FOR
        while self._given and self._given[0].created < since:
            self._given.popleft()
        crowds = [
            Crowd(each.labels, old=each.created < since, new=each.created >= since)
            for each in self._members.values()
            if each.namespace == namespace
        ]
        given = [each.labels for each in self._given if each.namespace == namespace]
        return {VirtualNodes.name: Known(crowds, given)}

    async def run(self) -> None:
        """Until cancelled."""
        await self._wanted.wait()
        await follow(self._client, PODS, sees=self._sees, gone=self._gone, only=self._only, label_selector=UNIT)

    def _sees(self, raw: Raw) -> str:
        pod: dict[str, Any] = msgspec.json.decode(raw)
        metadata, phase = pod["metadata"], (pod.get("status") or {}).get("phase")
        uid = str(metadata["uid"])
        if phase in ("Succeeded", "Failed") or metadata.get("deletionTimestamp"):
            self._members.pop(uid, None)
        else:
            created = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
            self._members[uid] = _Member(metadata["namespace"], metadata.get("labels") or {}, created)
        return uid

    def _gone(self, raw: Raw) -> None:
        self._members.pop(msgspec.json.decode(raw)["metadata"]["uid"], None)

    def _only(self, named: Collection[str]) -> None:
        self._members = {uid: each for uid, each in self._members.items() if uid in named}
        self._synced = True
