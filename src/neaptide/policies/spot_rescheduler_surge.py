"""Single replicas: a twin is started ahead, and only when it is ready the pod leaves; then the workload is what it was.

A Deployment of one pod is scaled to two. Its node is tainted, so the twin comes elsewhere. When the twin is ready the pod is evicted, and
when it has gone the Deployment is scaled back: its ReplicaSet then takes away what it started last, which is not ready yet.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from neaptide.model.actions import Reason, Ref, Scale
from neaptide.model.objects import Workload
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.workloads import is_suspended, pods_wanted
from neaptide.policies.spot_rescheduler_spec import NAME

SURGE = "neaptide.io/surge"
"""Annotation of a pod: `never` has no twin of it started."""
PATIENCE = 600.0
"""Seconds that a twin may take to become ready."""


class Surge:
    """The workloads that have a twin more than they want, and since when, by name."""

    def __init__(self, snapshot: ClusterSnapshot, since: Mapping[str, float], now: float) -> None:
        self._snapshot, self._now = snapshot, now
        self.since = dict(since)

    def may(self, pod: int) -> bool:
        """Whether a twin of a pod (row) may be started: its Deployment wants one pod, and nothing ties it to one."""
        workload, snapshot = self._workload(pod), self._snapshot
        if workload is None or snapshot.pod_annotations(pod).get(SURGE) == "never" or is_suspended(workload):
            return False
        tied = any(True for _ in snapshot.shape_of_pod(pod).requirements.volumes)
        name = str(snapshot.workload_of(pod))
        return not tied and pods_wanted(workload) == (2 if name in self.since else 1)

    def begin(self, pod: int) -> Scale | None:
        """Start a twin of a pod (row); None where one is on its way."""
        target = self._snapshot.workload_of(pod)
        if target is None or str(target) in self.since:
            return None
        self.since[str(target)] = self._now
        why = Reason("Surge", "a twin is started ahead, for it has no other ready pod")
        return Scale(policy=NAME, target=target, reason=why, replicas=2, was=1)

    def is_late(self, pod: int) -> bool:
        """Whether a twin should have been ready by now."""
        return self._now - self.since.get(str(self._snapshot.workload_of(pod)), self._now) > PATIENCE

    def end(self, leaving: Iterable[int], is_leaving: Callable[[int], bool]) -> Iterator[Scale]:
        """Scale back what has a twin more than it wants and no pod that is still to leave (`leaving`, rows)."""
        busy = {str(self._snapshot.workload_of(pod)) for pod in leaving if is_leaving(pod)}
        for name in sorted(self.since):
            found = self._named(name)
            if found is None or pods_wanted(found[1]) != 2:
                if name not in busy or self._now - self.since[name] > PATIENCE:
                    del self.since[name]
                continue
            if name not in busy:
                why = Reason("Surged", "its twin has taken over")
                yield Scale(policy=NAME, target=found[0], reason=why, replicas=1, was=2)

    def _workload(self, pod: int) -> Workload | None:
        """The Deployment of a pod (row), where it is known."""
        ref = self._snapshot.workload_of(pod)
        found = self._named(str(ref)) if ref is not None and ref.kind == "Deployment" else None
        return None if found is None else found[1]

    def _named(self, name: str) -> tuple[Ref, Workload] | None:
        kind, _, path = name.partition(" ")
        namespace, _, own = path.partition("/")
        row = self._snapshot.workloads.find(kind, namespace, own)
        item = None if row is None else self._snapshot.workloads.objects[row]
        return None if row is None or item is None else (self._snapshot.workloads.refs[row], item)
