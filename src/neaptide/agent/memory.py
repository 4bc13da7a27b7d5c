"""Memory QoS on a node: containers, pods and the groups above them; version 2 only."""

import os
from collections.abc import Mapping, Sequence

from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.pods import Pod
from neaptide.agent.readings import NodePod
from neaptide.model.qos import QoS
from neaptide.noderules.memory_qos import (
    MemoryProtection,
    MemoryQosSettings,
    MemoryShares,
    memory_protection,
    protected_together,
)

_PAGE = os.sysconf("SC_PAGE_SIZE")


class MemoryQos:
    """What files shall say, from what pods request."""

    def __init__(self, settings: MemoryQosSettings, groups: Groups) -> None:
        self._settings, self._groups = settings, groups
        self._works = groups.has(groups.layout.tier("besteffort"), "memory.low")

    def wanted(self, pods: Sequence[NodePod], objects: Mapping[str, Pod], allocatable: int) -> Wanted:
        """`allocatable` is the node's in bytes; of pods that nobody told of nothing is known, and nothing is written."""
        wanted: Wanted = {}
        if not self._works or not any(shares.active for shares in self._settings):
            return wanted
        by_group: dict[str, list[MemoryProtection]] = {}
        for there in pods:
            shares = self._shares(there)
            if shares is None or not shares.active:
                continue
            of_pod = protected_together(self._containers(there, objects[there.at.uid], shares, allocatable, wanted))
            wanted |= self._groups.protection(there.at.group, of_pod)
            for above in self._groups.layout.above(there.at.group):
                by_group.setdefault(above, []).append(of_pod)
        for group, parts in by_group.items():
            wanted |= self._groups.protection(group, protected_together(parts))
        return wanted

    def _containers(
        self, there: NodePod, pod: Pod, shares: MemoryShares, allocatable: int, wanted: Wanted
    ) -> list[MemoryProtection]:
        found = []
        for group in self._groups.layout.below(there.at.group, self._groups.listing):
            claim = pod.memory_claim(group)
            if claim is not None:
                found.append(memory_protection(shares, claim, allocatable=allocatable, page=_PAGE))
                wanted |= self._groups.protection(group, found[-1])
        return found

    def _shares(self, pod: NodePod) -> MemoryShares | None:
        """None for pods that are left alone."""
        if not pod.known or pod.qos is QoS.SYSTEM:
            return None
        if pod.best_effort:
            return self._settings.be
        return self._settings.lsr if pod.qos in (QoS.LSE, QoS.LSR) else self._settings.ls
