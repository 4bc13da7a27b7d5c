"""Warns of pods that a Service selects and does not reach, because their provider's network is not the cluster's: once for each pod.

That a Service selects a pod is what the API tells of its needs. Whether it calls Services itself nobody can see beforehand.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.following import follow
from neaptide.kubeapi.resources import SERVICES
from neaptide.virtualnode.events import About, Events, Said
from neaptide.virtualnode.pods import Pods
from neaptide.virtualnode.provider import Network, VirtualPod

REASON = "ServiceUnreached"
_HAS: dict[Network, str] = {"own": "the provider's own network", "none": "no network"}
_ENDED = ("Succeeded", "Failed")


class _Key(NamedTuple):
    namespace: str
    name: str


class Unreached:
    """Follows the Services of a cluster.

    Args:
        client: the wire.
        network: of the provider's pods; in the cluster's network there is nothing to warn of.
    """

    def __init__(self, client: Client, network: Network) -> None:
        self._client, self._network = client, network
        self._selectors: dict[_Key, Mapping[str, str]] = {}
        self._nodes: list[tuple[Pods, Events]] = []
        self._synced = False
        self._told: set[str] = set()

    @contextmanager
    def following(self, pods: Pods, events: Events) -> Iterator[None]:
        """Inside, the pods of a node are looked at, too, and warned of where its kubelet speaks."""
        self._nodes.append((pods, events))
        pods.came = lambda pod: self._look_at(pod, events)
        try:
            yield
        finally:
            self._nodes.remove((pods, events))

    async def run(self) -> None:
        """Until cancelled."""
        if self._network not in _HAS:
            return
        await follow(self._client, SERVICES, sees=self._sees, gone=self._gone, only=self._only)

    def _sees(self, raw: Raw) -> _Key:
        service: dict[str, Any] = msgspec.json.decode(raw)
        key, spec = _key(service["metadata"]), service.get("spec") or {}
        selector = {} if spec.get("type") == "ExternalName" else spec.get("selector") or {}
        if self._selectors.get(key) != selector:
            self._selectors[key] = selector
            self._look_at_all()
        return key

    def _gone(self, raw: Raw) -> None:
        self._selectors.pop(_key(msgspec.json.decode(raw)["metadata"]), None)

    def _only(self, named: Collection[_Key]) -> None:
        self._selectors = {key: each for key, each in self._selectors.items() if key in named}
        self._synced = True
        self._look_at_all()

    def _look_at_all(self) -> None:
        self._told &= {uid for pods, _ in self._nodes for uid in pods.wanted}
        for pods, events in self._nodes:
            for pod in tuple(pods.wanted.values()):
                self._look_at(pod, events)

    def _look_at(self, pod: VirtualPod, events: Events) -> None:
        if not self._synced or pod.uid in self._told or pod.metadata.get("deletionTimestamp"):
            return
        if (pod.object.get("status") or {}).get("phase") in _ENDED:
            return
        labels = pod.metadata.get("labels") or {}
        names = sorted(
            key.name
            for key, selector in self._selectors.items()
            if selector and key.namespace == pod.namespace and selector.items() <= labels.items()
        )
        if names:
            self._told.add(pod.uid)
            events.say(About(pod.uid, pod.namespace, pod.name), self._said(names))

    def _said(self, names: list[str]) -> Said:
        services = f"the Service{'s' if len(names) > 1 else ''} {', '.join(names)}"
        message = f"selected by {services}, but pods of this node have {_HAS[self._network]}: they may not be reached"
        return Said(REASON, message, warning=True, once=True)


def _key(metadata: Mapping[str, Any]) -> _Key:
    return _Key(metadata["namespace"], metadata["name"])
