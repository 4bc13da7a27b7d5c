"""CPU binding on a node: pods have the CPUs that the scheduler wrote down for them, and the others share what is left.

LSE: CPUs that nobody else may use. LSR: CPUs that best-effort pods may use too. LS, and services that name no class: what is left (the share
pool). Best-effort pods: all but those of LSE pods. SYSTEM pods are left alone, and so are all where the kubelet's own CPU manager is static.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import msgspec

from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.pods import Pod
from neaptide.agent.readings import NodePod
from neaptide.model.cpusets import cpu_list, cpus_of
from neaptide.model.qos import QoS

STATUS = "scheduling.koordinator.sh/resource-status"


class Bound(NamedTuple):
    """The CPUs of each pod that has its own, by UID, and those of all LSE and of all LSR pods."""

    by_uid: Mapping[str, frozenset[int]] = {}
    lse: frozenset[int] = frozenset()
    lsr: frozenset[int] = frozenset()


NOBODY = Bound()


class Binding:
    """Who has which CPUs.

    Args:
        groups: the pods' control groups.
        say: takes a sentence about a pod whose CPUs cannot be given to it, by the pod's name.
    """

    def __init__(self, groups: Groups, say: Callable[[str, str], None]) -> None:
        self._groups, self._say = groups, say

    def bound(self, pods: Sequence[NodePod], objects: Mapping[str, Pod]) -> Bound:
        """What was written down. A pod whose CPUs are not there, or another's, has none; so have those that do not say LSE or LSR."""
        allowed = self._groups.cpus(self._groups.layout.tier(""))
        by_uid: dict[str, frozenset[int]] = {}
        of_class: dict[QoS, frozenset[int]] = {QoS.LSE: frozenset(), QoS.LSR: frozenset()}
        for pod in pods:
            if not pod.known or pod.best_effort or pod.qos not in of_class:
                continue
            found = objects[pod.at.uid]
            wanted = _written_down(found)
            taken = of_class[QoS.LSE] | of_class[QoS.LSR]
            if not wanted:
                continue
            why = _why_not(wanted, allowed, taken, found)
            if why:
                self._say(
                    found.name, f"{found.name}: {STATUS}: the CPUs {cpu_list(wanted)} {why}; it shares CPUs with others"
                )
                continue
            by_uid[pod.at.uid] = wanted
            of_class[pod.qos] |= wanted
        return Bound(by_uid, of_class[QoS.LSE], of_class[QoS.LSR])

    def wanted(self, pods: Sequence[NodePod], bound: Bound) -> Wanted:
        """What files of services shall say; nothing where no pod has CPUs of its own."""
        if not bound.by_uid:
            return {}
        shared = self._groups.cpus(self._groups.layout.tier("")) - bound.lse - bound.lsr
        wanted: Wanted = {}
        for pod in pods:
            own = bound.by_uid.get(pod.at.uid)
            if own is not None:
                wanted |= self._groups.only_on(pod.at.group, own)
                wanted |= self._groups.without_quota(pod.at.group)
            elif pod.known and not pod.best_effort and pod.qos is not QoS.SYSTEM and shared:
                wanted |= self._groups.only_on(pod.at.group, shared)
        return wanted


def _why_not(wanted: frozenset[int], allowed: frozenset[int], taken: frozenset[int], pod: Pod) -> str:
    if not wanted <= allowed:
        return "are not the node's"
    if wanted & taken:
        return "are another pod's, too"
    return "are more than it requests" if len(wanted) > max(ceil(pod.cpu_requested / 1000), 1) else ""


def _written_down(pod: Pod) -> frozenset[int]:
    try:
        status = msgspec.json.decode(pod.metadata.annotations.get(STATUS, "{}"), type=dict[str, object])
    except msgspec.MsgspecError:
        return frozenset()
    listed = status.get("cpuset")
    return cpus_of(listed) if isinstance(listed, str) else frozenset()
