"""Events on the objects that co-location goes wrong for: the conditions that the chart's alerts count, said of each node and pod, with what to do.

`troubles` looks; `Told` remembers, so that each is said when it begins and once an hour while it lasts.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from neaptide.model.accounts import TIERS
from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, NO_NODE, PENDING, Longs
from neaptide.model.node_metric import FINDINGS, OBJECTIVE, Objective
from neaptide.model.qos import Band
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU
from neaptide.policies.interference import Finding, InterferenceSpec, account, told_of

_OLD = 900.0
"""Seconds after which a node's metric is too old to reclaim by (Koordinator's degradeTimeMinutes)."""
_STARVES = 21_600.0
"""Seconds for which offline work may wait for a node."""
_AGAIN = 3600.0
_MOST = 200
"""So many are said at once; the others in later cycles."""


class Trouble(NamedTuple):
    """What it is about, a CamelCase reason, and a sentence that says what was done and what a person can do."""

    about: Ref
    reason: str
    note: str


class Speaker(Protocol):
    """Who writes Events (events.py)."""

    def say(self, regarding: Ref, *, reason: str, note: str, action: str, warning: bool) -> None: ...


class Told:
    """Says troubles as Events."""

    def __init__(self) -> None:
        self._said: dict[tuple[Ref, str], float] = {}
        self._lent = False

    def say(self, snapshot: ClusterSnapshot, events: Speaker, now: float) -> None:
        """Say what is new, or was said an hour ago. What has ended is forgotten, so that it is said at once if it begins again."""
        self._lent = self._lent or _lends(snapshot)
        found = {(each.about, each.reason): each for each in troubles(snapshot, now, lent=self._lent)}
        self._said = {key: time for key, time in self._said.items() if key in found and now - time < _AGAIN}
        due = [key for key in found if key not in self._said]
        for key in due[:_MOST]:
            self._said[key] = now
            trouble = found[key]
            events.say(trouble.about, reason=trouble.reason, note=trouble.note, action="CoLocation", warning=True)


def troubles(snapshot: ClusterSnapshot, now: float, *, lent: bool = False) -> Iterator[Trouble]:
    """All there are; `lent` says that nodes have offered reclaimed resources before, if none does now."""
    yield from _suffering(snapshot, now)
    yield from _nodes(snapshot, now) if lent or _lends(snapshot) else ()
    for pod in failed(snapshot).tolist():
        note = "offline work has failed; other Events on this pod say whether it was evicted, and by whom, and its Job starts it again within backoffLimit"
        yield Trouble(snapshot.pod_ref(pod), "OfflineFailed", note)
    waiting = waits(snapshot)
    for pod in waiting[now - snapshot.pods.created[waiting] > _STARVES].tolist():
        note = f"offline work has waited for a node for more than {_STARVES / 3600:.0f} h; neaptide explain pod says what it lacks: raise the reclaim thresholds, open a time window, or buy a node for it"
        yield Trouble(snapshot.pod_ref(pod), "OfflineStarves", note)


def _nodes(snapshot: ClusterSnapshot, now: float) -> Iterator[Trouble]:
    ill = unready(snapshot).tolist()
    for node in ill:
        note = "it is not ready, and what was reclaimed on it is taken away; look at its kubelet"
        yield Trouble(snapshot.node_ref(node), "NodeDegraded", note)
    missed = unmeasured(snapshot, now)
    old = missed[now - snapshot.nodes.created[missed] > _OLD].tolist()
    for node in sorted(set(old).difference(ill)):
        note = "its use is not known, so nothing is reclaimed there; is the agent running, is its NodeMetric written, or does a metrics server answer?"
        yield Trouble(snapshot.node_ref(node), "NodeUnmeasured", note)


def _lends(snapshot: ClusterSnapshot) -> bool:
    """Whether any node offers reclaimed resources: else nothing is taken away from those that are not well."""
    at = snapshot.resource_row(TIERS[CPU]["batch"])
    return at is not None and bool((snapshot.nodes.allocatable[at, snapshot.nodes.indices()] > 0).any())


def unready(snapshot: ClusterSnapshot) -> Longs:
    """The nodes (rows) that are not ready."""
    rows = snapshot.nodes.indices()
    found: Longs = rows[~snapshot.nodes.ready[rows]]
    return found


def unmeasured(snapshot: ClusterSnapshot, now: float) -> Longs:
    """The nodes (rows) whose use was not seen for too long."""
    rows = snapshot.nodes.indices()
    found: Longs = rows[~(now - snapshot.nodes.usage_time[rows] <= _OLD)]
    return found


def failed(snapshot: ClusterSnapshot) -> Longs:
    """The offline pods (rows) that have failed."""
    rows = _offline(snapshot)
    found: Longs = rows[snapshot.pods.phase[rows] == FAILED]
    return found


def waits(snapshot: ClusterSnapshot) -> Longs:
    """The offline pods (rows) that wait for a node."""
    pods, rows = snapshot.pods, _offline(snapshot)
    found: Longs = rows[(pods.phase[rows] == PENDING) & (pods.node[rows] == NO_NODE)]
    return found


def _offline(snapshot: ClusterSnapshot) -> Longs:
    rows = snapshot.pods.indices()
    found: Longs = rows[snapshot.pods.band[rows] <= Band.BATCH]
    return found


def _suffering(snapshot: ClusterSnapshot, now: float) -> Iterator[Trouble]:
    """Services that suffer, and those that are slower than they shall be."""
    age = InterferenceSpec().metric_age_seconds
    for pod, found in told_of(snapshot, age, now, FINDINGS, Finding):
        note = f"{account(found)}; give the job less, or the service CPUs of its own or more replicas"
        yield Trouble(snapshot.pod_ref(pod), "ServiceSuffers", note)
    for pod, latency in told_of(snapshot, age, now, OBJECTIVE, Objective):
        if latency.seconds > latency.objective:
            note = f"{latency}; offline work on its node shrinks as far as it may: the service needs more replicas, CPUs of its own, or another objective"
            yield Trouble(snapshot.pod_ref(pod), "BelowObjective", note)
