"""Post-filter: which pods would have to go so that another fits, chosen as a user would choose them.

Victims are of a lower rank (band first, then priority), never protected, and never more than needed: with all of them gone
the more important ones are let back first (those whose budget would be violated before all others). Of the nodes, the one
wins whose victims violate the fewest disruption budgets, then have the lowest band and priority, are the fewest, started
latest, and free the smallest surplus. Source of the frame: kube-scheduler v1.36, framework/preemption.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.actions import Evict, Reason
from neaptide.model.columns import Bools, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.actions import SCHEDULER
from neaptide.placement.cycle.attempts import Attempts
from neaptide.placement.cycle.budgets import DisruptionBudgets
from neaptide.placement.cycle.debts import Debts
from neaptide.placement.cycle.nominations import Nominations, Rank, rank_of
from neaptide.placement.cycle.profile import Preemption
from neaptide.placement.cycle.protection import Protects
from neaptide.placement.cycle.queue import Waiting
from neaptide.placement.filters.dynamic_resources import DynamicResources
from neaptide.placement.filters.node_resources_fit import NodeResourcesFit
from neaptide.placement.verdict import Verdict

HELPED = {
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "PodTopologySpread",
    "InterPodAffinity",
    "DeviceShare",
}
"""The filters that a pod may pass once other pods are gone."""
EXACT_TRIES = 16
"""On so many nodes at most, filters other than NodeResourcesFit are asked about every single victim."""

NO_CLAIMS = "no new claims to deallocate"
"""What kube-scheduler's DynamicResources says of pods without claims, before preemption has its say."""
NEVER = "not eligible due to preemptionPolicy=Never."
LEAVING = "not eligible due to a terminating pod on the nominated node."
NO_DEBTORS = "Nobody who could go has more than is theirs"
NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"


class Made(NamedTuple):
    """Room on a node (row) without these pods (rows); no node, and why, where none can be made."""

    node: int | None
    victims: tuple[int, ...] = ()
    message: str = ""


class _Candidate(NamedTuple):
    """A node as a choice; the smallest is the best."""

    violations: int
    band: int
    priority: int
    victim_count: int
    latest_start: float
    surplus: float
    node: int
    victims: tuple[int, ...]
    exact: bool


class Preemptor:
    """Makes room, on paper."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        attempts: Attempts,
        nominations: Nominations,
        spec: Preemption,
        protects: Protects,
        *,
        assumed: Callable[[str], bool],
    ) -> None:
        self._snapshot, self._attempts, self._nominations = snapshot, attempts, nominations
        self._spec, self._protects, self._assumed = spec, protects, assumed
        self._budgets = DisruptionBudgets(snapshot)
        self._protected: dict[int, bool] = {}
        self._vain: dict[tuple[int, Rank], tuple[int, str]] = {}
        """By class and rank: how many changes of nodes there had been when no room could be made, and why."""

    def begin(self) -> None:
        """A cycle begins."""
        self._budgets.refresh()
        self._protected.clear()
        self._vain.clear()

    def plan(self, pod: Waiting, verdict: Verdict | None, now: float) -> Made:
        """Which pods would have to go so that a pod, of which filters have said this, fits somewhere.

        None is for a pod that plugins refuse whatever the nodes: their debtors have to go, and who is in the way besides.
        """
        if not self._spec.enabled or not len(self._snapshot.nodes.indices()):
            return Made(None)
        if not pod.preempts:
            return Made(None, message=self.said(NEVER))
        row, rank = pod.row, rank_of(self._snapshot, pod.row)
        alike = int(self._snapshot.pods.cls[row]), rank
        changes, message = self._vain.get(alike, (-1, ""))
        if changes == len(self._snapshot.changed_nodes):
            return Made(None, message=message)
        made = self._among_nodes(pod, verdict, now) if verdict is not None else self._among_debtors(pod, now)
        if made.node is None:
            self._vain[alike] = len(self._snapshot.changed_nodes), made.message
        for victim in made.victims:
            self._budgets.use(victim)
        return made

    def _among_nodes(self, pod: Waiting, verdict: Verdict, now: float) -> Made:
        row, rank = pod.row, rank_of(self._snapshot, pod.row)
        total, helped = int(np.count_nonzero(verdict.nodes)), self._helped(row, verdict)
        with self._nominations.held(rank, {pod.key}):
            lower = self._lower(row, rank) if helped.any() else {}
            best = self._best(row, self._candidates(row, lower, helped, now), lower, now)
            if best is not None:
                return Made(best.node, best.victims)
            reasons = self._reasons(row, lower, helped, now)
        reasons[NOT_HELPFUL] += total - reasons.total()
        listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items() if count))
        return Made(None, message=self.said(f"0/{total} nodes are available: {listed}."))

    def _among_debtors(self, pod: Waiting, now: float) -> Made:
        """Debtors go first, and only where their leaving makes no room, others of a lower rank besides."""
        row, rank = pod.row, rank_of(self._snapshot, pod.row)
        debts = self._debts(row, now)
        owed = debts.least(())
        if owed is None:
            return Made(None, message=self.said(NO_DEBTORS))
        with self._nominations.held(rank, {pod.key}):
            verdict = self._attempts.verdict(row, debts.plugins, now)
            if verdict.feasible.any():
                return Made(self._attempts.best(row, debts.plugins, verdict.feasible, now), owed)
            helped = self._helped(row, verdict)
            for lower in (self._by_node(np.array(debts.pods, dtype=np.int64)), self._lower(row, rank)):
                best = self._best(row, self._candidates(row, lower, helped, now), lower, now)
                if best is not None:
                    return Made(best.node, (*best.victims, *(debts.least(best.victims) or ())))
        return Made(None, message=self.said(NO_VICTIMS))

    def _debts(self, row: int, now: float) -> Debts:
        """Who may go for a pod that plugins refuse; those who leave anyway are gone, and nominated pods have come."""
        refusing = [each for each in self._attempts.concerned(row) if each.pre_filter(row, now)]
        found = dict.fromkeys(pod for plugin in refusing for pod in plugin.debtors(row))
        able = [each for each in found if not self._is_leaving(each) and self._may_go(each, now)]
        on_nodes = self._on_nodes()
        gone = [*self._nominations.victims(), *on_nodes[~np.isnan(self._snapshot.pods.deleted[on_nodes])].tolist()]
        come = self._nominations.ahead(rank_of(self._snapshot, row), self._snapshot.pods.keys[row])
        return Debts(row, refusing, self._by_importance(able)[::-1], tuple(dict.fromkeys(gone)), come)

    def said(self, message: str) -> str:
        """What post-filters say of a pod that finds no node, in kube-scheduler's words."""
        claims = [NO_CLAIMS] if any(isinstance(each, DynamicResources) for each in self._attempts.filters) else []
        return ", ".join([*claims, f"preemption: {message}"])

    def evictions(self, pod: Waiting, made: Made) -> tuple[Evict, ...]:
        """What carries out `plan`."""
        snapshot = self._snapshot
        reason = Reason("Preempted", f"makes room for {snapshot.pod_ref(pod.row)}, of a higher rank")
        return tuple(
            Evict(
                policy=SCHEDULER,
                target=snapshot.pod_ref(victim),
                reason=reason,
                node=snapshot.nodes.names[int(snapshot.pods.node[victim])],
                workload=snapshot.workload_of(victim),
            )
            for victim in made.victims
        )

    def _helped(self, row: int, verdict: Verdict) -> Bools:
        """bool[nodes]: where somebody's leaving may help: not where even an empty node would be too small."""
        found = np.zeros_like(verdict.feasible)
        for name, reasons in verdict.refusals:
            if name in HELPED:
                found |= np.any([*reasons.values()], axis=0)
        shape = int(self._snapshot.classes.shape[self._snapshot.pods.cls[row]])
        counted = self._counted(shape)
        large = (
            self._snapshot.nodes.allocatable[counted, : len(found)]
            >= self._snapshot.shapes.request[counted, shape, None]
        )
        return found & large.all(axis=0)

    def _lower(self, row: int, rank: Rank) -> dict[int, list[int]]:
        """By node (row): the pods (rows) that may have to go, protected ones among them."""
        pods, rows = self._snapshot.pods, self._on_nodes()
        band, priority = pods.band[rows], pods.priority[rows]
        rows = rows[(band < rank[0]) | ((band == rank[0]) & (priority < rank[1]))]
        also = [each for plugin in self._attempts.plugins for each in plugin.reclaimable(row)]
        if also:
            rows = np.union1d(rows, np.array(also, dtype=np.int64))
        return self._by_node(rows)

    def _on_nodes(self) -> Longs:
        pods = self._snapshot.pods
        return np.flatnonzero((pods.node[: pods.rows] >= 0) & pods.alive[: pods.rows])

    def _by_node(self, rows: Longs) -> dict[int, list[int]]:
        on_nodes = self._snapshot.pods.node[rows]
        order = np.argsort(on_nodes, kind="stable")
        rows, (nodes, starts) = rows[order], np.unique(on_nodes[order], return_index=True)
        return {node: some.tolist() for node, some in zip(nodes.tolist(), np.split(rows, starts[1:]), strict=False)}

    def _candidates(self, row: int, lower: dict[int, list[int]], helped: Bools, now: float) -> list[_Candidate]:
        """The nodes where room could be made, with the victims that amounts alone ask for."""
        shape = int(self._snapshot.classes.shape[self._snapshot.pods.cls[row]])
        counted = self._counted(shape)
        wanted = self._snapshot.shapes.request[counted, shape]
        most = max(
            self._spec.min_candidate_nodes_absolute, len(helped) * self._spec.min_candidate_nodes_percentage // 100
        )
        found: list[_Candidate] = []
        for node in sorted(lower):
            if len(found) >= most:
                break
            if not helped[node]:
                continue
            candidate = self._by_amounts(node, lower[node], counted, wanted, now)
            if candidate is not None:
                found.append(candidate)
        return found

    def _reasons(self, row: int, lower: dict[int, list[int]], helped: Bools, now: float) -> Counter[str]:
        """By reason, on how many of the nodes where somebody's leaving may help it does not."""
        shape = int(self._snapshot.classes.shape[self._snapshot.pods.cls[row]])
        counted, found = self._counted(shape), Counter[str]()
        for node in np.flatnonzero(helped).tolist():
            gone = [each for each in lower.get(node, ()) if self._is_leaving(each) or self._may_go(each, now)]
            if not gone:
                found[NO_VICTIMS] += 1
                continue
            room = self._snapshot.nodes.allocatable[counted, node] - self._snapshot.nodes.used[counted, node]
            room = room + self._snapshot.pod_requests(np.array(gone))[counted].sum(axis=1)
            lacking = np.flatnonzero(room < self._snapshot.shapes.request[counted, shape])
            names = [self._snapshot.resources[counted[each]] for each in lacking.tolist()]
            found[f"Insufficient {names[0]}" if names else NO_VICTIMS] += 1
        return found

    def _counted(self, shape: int) -> Longs:
        """The resources (rows) that a shape asks for and NodeResourcesFit looks at."""
        fits = [each for each in self._attempts.filters if isinstance(each, NodeResourcesFit)]
        names = self._snapshot.resources
        asked = np.flatnonzero(self._snapshot.shapes.request[:, shape])
        return np.array(
            [each for each in asked.tolist() if not any(fit.ignores(names[each]) for fit in fits)], dtype=np.int64
        )

    def _by_amounts(self, node: int, pods: list[int], counted: Longs, wanted: Longs, now: float) -> _Candidate | None:
        snapshot = self._snapshot
        free = snapshot.nodes.allocatable[counted, node] - snapshot.nodes.used[counted, node]
        leaving = [each for each in pods if self._is_leaving(each)]
        choice = [each for each in pods if not self._is_leaving(each) and self._may_go(each, now)]
        requests = snapshot.pod_requests(np.array([*leaving, *choice], dtype=np.int64))[counted]
        room = free + requests.sum(axis=1)
        if (room < wanted).any():
            return None
        amounts = dict(zip(choice, requests[:, len(leaving) :].T, strict=True))
        victims = []
        for each in self._by_importance(choice):
            if (room - amounts[each] >= wanted).all():
                room = room - amounts[each]
            else:
                victims.append(each)
        short = np.maximum(wanted - free - requests[:, : len(leaving)].sum(axis=1), 0)
        return self._candidate(node, victims, short, counted, exact=False)

    def _best(
        self, row: int, candidates: list[_Candidate], lower: dict[int, list[int]], now: float
    ) -> _Candidate | None:
        """The best candidate of which every filter is sure."""
        heapq.heapify(candidates)
        tries = 0
        while candidates:
            best = heapq.heappop(candidates)
            if best.exact or self._fits_without(row, best.node, [*best.victims, *self._leaving(lower[best.node])], now):
                return best
            if tries < EXACT_TRIES:
                tries += 1
                exact = self._by_filters(row, best.node, lower[best.node], now)
                if exact is not None:
                    heapq.heappush(candidates, exact)
        return None

    def _by_filters(self, row: int, node: int, pods: list[int], now: float) -> _Candidate | None:
        """A node's victims with every filter asked about each of them."""
        leaving = self._leaving(pods)
        gone = [each for each in pods if not self._is_leaving(each) and self._may_go(each, now)]
        if not self._fits_without(row, node, [*leaving, *gone], now):
            return None
        for each in self._by_importance(list(gone)):
            without = [other for other in gone if other != each]
            if self._fits_without(row, node, [*leaving, *without], now):
                gone = without
        shape = int(self._snapshot.classes.shape[self._snapshot.pods.cls[row]])
        counted = self._counted(shape)
        free = self._snapshot.nodes.allocatable[counted, node] - self._snapshot.nodes.used[counted, node]
        free += self._snapshot.pod_requests(np.array(leaving, dtype=np.int64))[counted].sum(axis=1)
        short = np.maximum(self._snapshot.shapes.request[counted, shape] - free, 0)
        return self._candidate(node, gone, short, counted, exact=True)

    def _fits_without(self, row: int, node: int, pods: Sequence[int], now: float) -> bool:
        with self._snapshot.what_if():
            for each in pods:
                self._snapshot.unassign(each)
            return bool(self._attempts.verdict(row, self._attempts.concerned(row), now).feasible[node])

    def _candidate(self, node: int, victims: list[int], short: Longs, counted: Longs, *, exact: bool) -> _Candidate:
        """`short` is what the node lacks of the `counted` resources: what victims have beyond it is surplus."""
        evicted = self._snapshot.pod_requests(np.array(victims, dtype=np.int64))[counted].sum(axis=1)
        pods, capacity = self._snapshot.pods, np.maximum(self._snapshot.nodes.allocatable[counted, node], 1)
        band, priority = max((rank_of(self._snapshot, each) for each in victims), default=(-1, -(2**31)))
        top = [each for each in victims if (pods.band[each], pods.priority[each]) == (band, priority)]
        starts = [self._started(each) for each in top]
        return _Candidate(
            len(self._budgets.violators(self._by_importance(victims)[::-1])),
            band,
            priority,
            len(victims),
            -min(starts, default=np.inf),
            float(((evicted - short) / capacity).max(initial=0.0)),
            node,
            tuple(victims),
            exact,
        )

    def _by_importance(self, pods: list[int]) -> list[int]:
        """Those whose budgets would be violated first, then by rank, then the longest running."""
        ranked = sorted(
            pods, key=lambda each: (rank_of(self._snapshot, each), -self._started(each), -each), reverse=True
        )
        violating = self._budgets.violators(ranked)
        return sorted(ranked, key=lambda each: each not in violating)

    def _started(self, pod: int) -> float:
        """When a pod started; one that has not is taken to start last."""
        started = float(self._snapshot.pods.started[pod])
        return started if started == started else np.inf  # noqa: PLR0124 - nan alone is not itself

    def _leaving(self, pods: Sequence[int]) -> list[int]:
        return [each for each in pods if self._is_leaving(each)]

    def _is_leaving(self, pod: int) -> bool:
        """Whether a pod is on its way out already."""
        pods = self._snapshot.pods
        return not np.isnan(pods.deleted[pod]) or self._nominations.is_victim(pods.keys[pod])

    def _may_go(self, pod: int, now: float) -> bool:
        if pod not in self._protected:
            key = self._snapshot.pods.keys[pod]
            self._protected[pod] = self._assumed(key) or self._protects(self._snapshot, pod, now) is not None
        return not self._protected[pod]
