"""Limits of reclaimed resources, which the kubelet knows nothing of: written into the groups of the pods that have them.

A container has the memory limit that it names in batch, mid or OT memory, and its pod the sum where all name one, as the kubelet does with memory itself; the pod
has its limit of reclaimed CPU as a quota. Source: koordinator's batchresource hook. Under version 1 a group's quota must be no less than those below it, so there a pod has none of
its own while all together have one (Koordinator has none in both versions).
"""

from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.pods import RECLAIMED_CPU, RECLAIMED_MEMORY, Pod
from neaptide.agent.readings import Look
from neaptide.agent.settings import Settings


class ReclaimedLimits:
    """What files of pods with reclaimed resources shall say."""

    def __init__(self, settings: Settings, version: int) -> None:
        suppress = settings.cpu_suppress
        together = suppress is not None and suppress.enabled and suppress.policy == "cfsQuota"
        self._quotas = version == 2 or not together
        self._wanted: Wanted = {}

    def wanted(self, now: float, look: Look, groups: Groups) -> Wanted:
        """The same until pods change, or are looked at anew."""
        del now
        if look.anew:
            self._wanted = {}
            for there in look.pods:
                if there.known:
                    self._wanted |= self._of(there.at.group, look.objects[there.at.uid], groups)
        return self._wanted

    def _of(self, group: str, pod: Pod, groups: Groups) -> Wanted:
        wanted: Wanted = {}
        for each in groups.layout.below(group, groups.listing) if pod.names(RECLAIMED_MEMORY) else ():
            container = pod.container(each)
            limit = container.limit(RECLAIMED_MEMORY) if container is not None else None
            wanted |= groups.memory_limit(each, limit or 0)
        wanted |= groups.memory_limit(group, pod.reclaimed_limit(RECLAIMED_MEMORY) or 0)
        milli = pod.reclaimed_limit(RECLAIMED_CPU) if self._quotas else None
        return wanted | (groups.limited_to(group, milli) if milli else {})
