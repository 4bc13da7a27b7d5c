"""Which pods hold their node, since when, and how much longer they will: what the policy `protected` sees and remembers of them."""

import re
from collections import Counter
from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field

from neaptide.forecast.remaining import Remaining, remaining
from neaptide.forecast.survival import Run
from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, SUCCEEDED, Longs
from neaptide.model.run_times import deadline_seconds, needed_seconds
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import go_duration
from neaptide.policies.protection import (
    DO_NOT_DISRUPT,
    SAFE_TO_EVICT,
    SOFT_EVICTION,
    annotated_protection,
    come_with_node,
)

KEPT_RUNS = 50
_GENERATED = re.compile(r"(-[a-z0-9]{5,10}|-?[0-9]+)$")


class Holder(NamedTuple):
    """A pod (row) that holds its node, whose it is, when it started (nan before), and how much longer it is expected to run."""

    pod: int
    name: str
    started: float
    left: Remaining


class History(Struct):
    """How long protected pods ran, by the name of their workload.

    Attributes:
        runs: the latest that ended, in seconds.
        running: when those started that were there in the cycle before.
        arrivals: when protected pods came within the window, all workloads together.
        since: when it was first looked.
    """

    runs: dict[str, tuple[float, ...]] = field(default_factory=dict)
    running: dict[str, tuple[float, ...]] = field(default_factory=dict)
    arrivals: tuple[float, ...] = ()
    since: float = 0.0

    def rate(self, now: float) -> float:
        """Protected pods that come in a second; one more within the hour than were seen, for what has not come yet may."""
        return (len(self.arrivals) + 1) / (now - self.since + 3600.0)

    def mean_seconds(self, default: float) -> float:
        """How long they run, as far as some have ended."""
        ended = [each for runs in self.runs.values() for each in runs]
        return sum(ended) / len(ended) if ended else default


def holding(snapshot: ClusterSnapshot, now: float) -> Longs:
    """The pods (rows) on nodes that an annotation protects now, whose node is held by them. No loop over all pods."""
    sets = snapshot.annotation_sets
    keys = {DO_NOT_DISRUPT, SAFE_TO_EVICT, SOFT_EVICTION}
    marked = np.array([not keys.isdisjoint(each) for each in sets.values], dtype=np.bool_)
    pods = snapshot.pods
    rows = pods.indices()
    rows = rows[(pods.node[rows] >= 0) & marked[pods.annotations[rows]]] if len(marked) else rows[:0]
    rows = rows[~np.isin(pods.phase[rows], (SUCCEEDED, FAILED)) & np.isnan(pods.deleted[rows])]
    kept = [
        row
        for row in rows.tolist()
        if annotated_protection(snapshot.pod_annotations(row), float(pods.started[row]), now) is not None
    ]
    found = np.array(kept, dtype=np.int64)
    return found[~come_with_node(snapshot, found)] if len(found) else found


def learnt(snapshot: ClusterSnapshot, pods: Sequence[int], before: History, now: float, window: float) -> History:
    """The history with what has ended and what has come since the cycle before; it is kept by workload, never by a pod's UID."""
    running: dict[str, list[float]] = {}
    for pod in pods:
        started = float(snapshot.pods.started[pod])
        running.setdefault(name_of(snapshot, pod), []).append(now if isnan(started) else started)
    runs = dict(before.runs)
    came = list(before.arrivals)
    for name in {*running, *before.running}:
        was, is_ = Counter(before.running.get(name, ())), Counter(running.get(name, ()))
        ended = sorted(now - start for start in (was - is_).elements())
        if ended:
            runs[name] = (*runs.get(name, ()), *ended)[-KEPT_RUNS:]
        came += [start for start in (is_ - was).elements() if before.since]
    recent = tuple(sorted(each for each in came if now - each < window))
    kept = {name: tuple(sorted(starts)) for name, starts in running.items()}
    return History(runs, kept, recent, max(before.since or now, now - window))


def holders(
    snapshot: ClusterSnapshot, pods: Sequence[int], history: History, now: float, unknown: float
) -> list[Holder]:
    """How much longer each is expected to hold its node."""
    found = []
    for pod in pods:
        name, started = name_of(snapshot, pod), float(snapshot.pods.started[pod])
        ran = 0.0 if isnan(started) else max(now - started, 0.0)
        past = [Run(each) for each in history.runs.get(name, ())]
        past += [Run(now - each, ended=False) for each in history.running.get(name, ())]
        annotations = snapshot.pod_annotations(pod)
        stated = needed_seconds(annotations)
        ends = deadline_seconds(snapshot, int(snapshot.pods.owner[pod]))
        limits = [each for each in (ends, go_duration(annotations.get(DO_NOT_DISRUPT, ""))) if each]
        left = remaining(ran, past, stated=stated, deadline=min(limits, default=None), at_least=unknown)
        found.append(Holder(pod, name, started, left))
    return found


def name_of(snapshot: ClusterSnapshot, pod: int) -> str:
    """Whose runs a pod's is one of: its workload, without what was made up for a single run."""
    ref = snapshot.workload_of(pod) or snapshot.pod_ref(pod)
    name = stem(ref.name) if ref.kind in ("Job", "Pod") else ref.name
    return str(Ref(ref.kind, name, ref.namespace))


def stem(name: str) -> str:
    """The name of a Job or a pod without what was made up for a single run."""
    return _GENERATED.sub("", name) or name
