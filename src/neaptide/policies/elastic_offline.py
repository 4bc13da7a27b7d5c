"""Policy `elastic-offline`: offline workloads grow into the reclaimed resources that are free, and shrink before services need them.

How much will be there soon is found by elastic_offline_forecast. Here is decided who gets it: services first, then by band and
priority; who has least of both gives way first.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field

from neaptide.model.actions import Declined, Effect, Plan, Reason, Ref, Scale
from neaptide.model.columns import NO_NODE, PENDING, Floats, Longs
from neaptide.model.objects import HorizontalPodAutoscaler, Workload
from neaptide.model.qos import Band
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.workloads import pods_wanted
from neaptide.placement.filters.hybrid_unschedulable import ELASTIC
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile
from neaptide.policies.arbiter import nameless
from neaptide.policies.elastic_offline_forecast import Offered, noted, part_expected
from neaptide.policies.elastic_offline_spec import ElasticOfflineSpec, ElasticRule
from neaptide.policies.offline_work import Census, Work, census, selects

NAME = "elastic-offline"
_LOST_WORK = Effect(risk=0.2)
_FILTERS_ONLY = Profile(scores=())
_UNKNOWN = Reason("PodsWait", "what others get in this cycle must show first")


class Size(Struct, frozen=True):
    """How many pods a workload wanted when it was last looked at, and since when; None where it was never seen to change."""

    pods: int
    since: float | None = None


class ElasticOfflineMemory(Struct):
    """What is remembered of workloads, and of reclaimed resources, by name."""

    sizes: dict[str, Size] = field(default_factory=dict)
    offered: dict[str, Offered] = field(default_factory=dict)


class _Elastic(NamedTuple):
    """A workload that may be scaled: `sample` is one of its pods (row), -1 where it has none."""

    work: Work
    item: Workload
    rule: ElasticRule
    pods: int
    sample: int
    since: float | None


class ElasticOffline:
    """The policy."""

    name = NAME
    spec_type = ElasticOfflineSpec
    memory_type = ElasticOfflineMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: ElasticOfflineSpec,
        memory: ElasticOfflineMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, ElasticOfflineMemory]:
        """Who grows, who shrinks, and why the others stay as they are."""
        if not spec.rules:
            return Plan(NAME), ElasticOfflineMemory()
        rows = [row for row, name in enumerate(snapshot.resources) if name.startswith(ELASTIC)]
        ready = snapshot.nodes.alive[: snapshot.nodes.rows] & snapshot.nodes.ready[: snapshot.nodes.rows]
        offered = {}
        for row in rows:
            name, amount = snapshot.resources[row], float(snapshot.nodes.allocatable[row, : len(ready)][ready].sum())
            offered[name] = noted(memory.offered.get(name, Offered()), amount, now, spec.horizon_seconds)
        parts = [part_expected(offered[snapshot.resources[row]], now, spec.horizon_seconds) for row in rows]
        found = census(snapshot, frozenset(kind for rule in spec.rules for kind in rule.selector.kinds))
        declined: list[Declined] = []
        elastic = _elastic(snapshot, spec, found, memory, covers, declined, now)
        room = _Room(snapshot, rows, np.array(parts).reshape(-1, 1), spec.reserve, now)
        actions = [*_shrinking(room, elastic)]
        leaving = {nameless(action.target) for action in actions}
        growing = [each for each in elastic if each.work.ref not in leaving]
        actions += _growing(snapshot, room, growing, declined, now)
        sizes = {str(each.work.ref): Size(each.pods, each.since) for each in elastic}
        return Plan(NAME, tuple(actions), tuple(declined)), ElasticOfflineMemory(sizes, offered)


class _Room:
    """What nodes have of the reclaimed resources (rows), as far as they are expected to last.

    Attributes:
        over: by resource, what is asked of nodes beyond that, less what is to go.
    """

    def __init__(self, snapshot: ClusterSnapshot, rows: list[int], parts: Floats, reserve: float, now: float) -> None:
        self.snapshot, self._rows, self._now = snapshot, rows, now
        size = snapshot.nodes.rows
        expected = snapshot.nodes.allocatable[rows, :size] * parts
        self._used = snapshot.nodes.used[rows, :size].astype(np.float64)
        self._limit = np.floor(expected * (1 - reserve))
        self.over = np.maximum(self._used - np.floor(expected), 0).sum(axis=1)
        self._placement: Placement | None = None

    def wants(self, pod: int) -> Longs:
        """int64[rows]: what a pod asks of each reclaimed resource."""
        wanted: Longs = self.snapshot.pod_requests([pod])[self._rows, 0]
        return wanted

    def take(self, pod: int, most: int) -> int:
        """Give room to at most so many more pods like one; to how many."""
        if self._placement is None:
            self._placement = Placement(self.snapshot, _FILTERS_ONLY)
            self._placement.at(self._now)
        wanted = self.wants(pod)
        asked = wanted > 0
        if self.over[asked].any():
            return 0
        free = np.where(self._placement.feasible(pod), self._limit - self._used, 0)[asked]
        fits = np.floor(np.maximum(free, 0) / wanted[asked, None]).min(axis=0).astype(np.int64)
        given = 0
        for node in np.argsort(-fits, kind="stable").tolist():
            count = min(int(fits[node]), most - given)
            if count <= 0:
                break
            self._used[:, node] += count * wanted
            given += count
        return given


def _elastic(
    snapshot: ClusterSnapshot,
    spec: ElasticOfflineSpec,
    found: Census,
    memory: ElasticOfflineMemory,
    covers: Covers,
    declined: list[Declined],
    now: float,
) -> list[_Elastic]:
    """The workloads that may be scaled; the reasons of the others are appended."""
    scalers: dict[str, HorizontalPodAutoscaler] = snapshot.others.get("HorizontalPodAutoscaler", {})
    autoscaled = {
        (each.metadata.namespace, each.spec.scale_target_ref.kind, each.spec.scale_target_ref.name): name
        for name, each in scalers.items()
    }
    elastic = []
    for work in found.work:
        ref, item = work.ref, snapshot.workloads.objects[work.row]
        rule = next((each for each in spec.rules if selects(each.selector, ref, work.standing)), None)
        if rule is None or item is None or not covers(ref):
            continue
        pods, sample = pods_wanted(item), next(iter(found.pods_of(work.row)), -1)
        scaler = autoscaled.get((ref.namespace, ref.kind, ref.name))
        reason = _objection(snapshot, work, item, sample, scaler)
        if reason is not None:
            declined.append(Declined(ref, reason))
            continue
        before = memory.sizes.get(str(ref))
        since = None if before is None else before.since if before.pods == pods else now
        elastic.append(_Elastic(work, item, rule, pods, sample, since))
    return elastic


def _objection(snapshot: ClusterSnapshot, work: Work, item: Workload, sample: int, scaler: str | None) -> Reason | None:
    """Why a workload is not to be scaled at all."""
    if scaler is not None:
        return Reason("Autoscaled", f"the HorizontalPodAutoscaler {scaler} sets its replicas")
    if work.owner and work.ref.kind != "Job":
        return Reason("Owned", f"its replicas belong to the {work.owner}")
    if work.suspended:
        return Reason("Suspended", "it is suspended")
    if item.spec.completions and item.status.succeeded >= item.spec.completions:
        return Reason("Finished", "all that it is to complete has succeeded")
    if sample >= 0 and not any(name.startswith(ELASTIC) for name in snapshot.shape_of_pod(sample).requests):
        return Reason("NotElastic", "its pods request no reclaimed resources (batch, mid or OT)")
    return None


def _shrinking(room: _Room, elastic: Sequence[_Elastic]) -> Iterator[Scale]:
    """Who gives way, until what is asked of each reclaimed resource is no more than what is expected to be there."""
    over = room.over
    for each in sorted(elastic, key=_rank):
        most, target = max(each.pods - each.rule.minimum, 0), each.pods
        if each.pods > each.rule.maximum:
            target = each.rule.maximum
        if each.sample >= 0 and over.any():
            wanted = room.wants(each.sample)
            helps = (wanted > 0) & (over > 0)
            needed = int(np.ceil(over[helps] / wanted[helps]).max(initial=0))
            gone = min(needed, most, each.work.running)
            over[:] = np.maximum(over - gone * wanted, 0)
            target = min(target, each.pods - gone)
        if target < each.pods:
            why = "more is asked of reclaimed resources than is expected to be there"
            why = why if target < each.rule.maximum else "it has more pods than its rule lets it"
            yield _scale(each, target, Reason("Shrink", f"from {each.pods} to {target} pods: {why}"))


def _growing(
    snapshot: ClusterSnapshot, room: _Room, elastic: Sequence[_Elastic], declined: list[Declined], now: float
) -> Iterator[Scale]:
    """Who grows: the most important first, each by at most its step."""
    waiting, unknown = _waiting_services(snapshot), False
    for each in sorted(elastic, key=lambda each: (each.pods < each.rule.minimum, _rank(each)), reverse=True):
        wanted = min(each.rule.step, _most(each) - each.pods)
        if wanted <= 0:
            continue
        below = each.rule.minimum - each.pods
        reason = None if below > 0 else _UNKNOWN if unknown else _not_yet(each, waiting, now)
        if reason is not None:
            declined.append(Declined(each.work.ref, reason))
            continue
        # Nobody knows what pods need that are not there: one of them shows it.
        fits = room.take(each.sample, wanted) if each.sample >= 0 else 0
        given = max(fits, min(below, wanted), int(each.sample < 0))
        unknown = unknown or given > fits
        if given == 0:
            declined.append(Declined(each.work.ref, Reason("NoRoom", "no reclaimed resources are free that last")))
            continue
        target = each.pods + given
        why = "reclaimed resources are free" if below <= 0 else f"its rule asks for {each.rule.minimum}"
        yield _scale(each, target, Reason("Grow", f"from {each.pods} to {target} pods: {why}"))


def _not_yet(each: _Elastic, waiting: int, now: float) -> Reason | None:
    if waiting:
        return Reason("ServicesWait", f"{waiting} pods of services wait for a node: they come first")
    if each.work.pending:
        return Reason("PodsWait", f"{each.work.pending} of its pods do not run yet")
    if each.since is not None and now - each.since < each.rule.cool_down_seconds:
        return Reason("CoolDown", f"it was scaled {now - each.since:.0f} s ago")
    return None


def _most(each: _Elastic) -> int:
    """The most pods that a workload has any use for."""
    completions = each.item.spec.completions
    return min(each.rule.maximum, completions - each.item.status.succeeded) if completions else each.rule.maximum


def _waiting_services(snapshot: ClusterSnapshot) -> int:
    """How many pods of bands prod and mid wait for a node."""
    table = snapshot.pods
    pods = table.indices()
    waits = (table.node[pods] == NO_NODE) & (table.phase[pods] == PENDING) & ~table.gated[pods]
    return int(np.count_nonzero(waits & np.isnan(table.deleted[pods]) & (table.band[pods] >= Band.MID)))


def _rank(each: _Elastic) -> tuple[int, int, str]:
    """The least important first."""
    standing = each.work.standing
    return int(standing.band), standing.priority, str(each.work.ref)


def _scale(each: _Elastic, target: int, reason: Reason) -> Scale:
    ref = Ref(each.work.ref.kind, each.work.ref.name, each.work.ref.namespace, each.item.metadata.uid)
    risk = _LOST_WORK if target < each.pods else Effect()
    return Scale(policy=NAME, target=ref, reason=reason, expected=risk, replicas=target, was=each.pods)
