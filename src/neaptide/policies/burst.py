"""Policy `burst`: real nodes first, virtual ones where waiting would cost more, and home again when it pays.

A pod in scope does not tolerate virtual nodes when it comes, so that schedulers keep it on real ones. The policy lets it onto them by a
toleration, which the API lets a pod gain at any time and which no scheduler takes for a wish: a real node that has room by then still gets the pod.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from neaptide.forecast.runtimes import run_time, with_run
from neaptide.model.actions import AnyAction, Declined, Effect, Evict, Plan, Reason, Tolerate
from neaptide.model.columns import FAILED, NO_NODE, SUCCEEDED
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.burst_costs import Choice, Decision, decide, pays_home
from neaptide.policies.burst_memory import BurstMemory, Purse, Seen, accrued, purse
from neaptide.policies.burst_rooms import KEY, Rooms, usable
from neaptide.policies.burst_spec import NAME, BurstSpec
from neaptide.policies.protection import protection

ASKED = "neaptide.io/burst"
"""Label of a pod: `true` lets a service burst, `false` keeps any pod at home."""
_ENDS = "Job"
_RISK = 0.1


class Burst:
    """The policy."""

    name = NAME
    spec_type = BurstSpec
    memory_type = BurstMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: BurstSpec,
        memory: BurstMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, BurstMemory]:
        """Which waiting pods may go to virtual nodes, which come home, and why the others do neither."""
        if not usable(snapshot):
            return Plan(NAME), memory
        rooms = Rooms(snapshot)
        cycle = _Cycle(snapshot, spec, memory, now, rooms)
        waiting = [pod for pod in _waiting(snapshot) if covers(snapshot.pod_ref(pod))]
        away = [pod for pod in rooms.away() if covers(snapshot.pod_ref(pod))]
        decisions = [*cycle.stops(away), *cycle.bursts(waiting), *cycle.homecomings(away)]
        actions = tuple(each for each in decisions if not isinstance(each, Declined))
        declined = tuple(each for each in decisions if isinstance(each, Declined))
        return Plan(NAME, actions, declined), cycle.memory()


class _Cycle:
    """One cycle: what is known, and what is decided from it."""

    def __init__(
        self, snapshot: ClusterSnapshot, spec: BurstSpec, memory: BurstMemory, now: float, rooms: Rooms
    ) -> None:
        self._snapshot, self._spec, self._now, self._rooms = snapshot, spec, now, rooms
        self._tariff = spec.prices()
        self._before = memory
        self._runs, self._seen = _learnt(snapshot, memory, now)
        rates: defaultdict[str, float] = defaultdict(float)
        self._count: Counter[str] = Counter()
        for pod in rooms.away():
            namespace = snapshot.pod_namespace(pod)
            rates[namespace] += self._price(pod) or 0.0
            self._count[namespace] += 1
        self._spent = accrued(memory.spent, rates, now)
        self._purses: dict[str, Purse] = {}
        self._room_since: dict[str, float] = {}
        self._stopped: set[int] = set()

    def memory(self) -> BurstMemory:
        """What is to be remembered."""
        return BurstMemory(self._spent, self._runs, self._seen, self._room_since)

    def bursts(self, waiting: Sequence[int]) -> Iterator[AnyAction | Declined]:
        """Let pods that wait onto virtual nodes, the longest waiting first."""
        created = self._snapshot.pods.created
        left = self._spec.per_cycle
        for pod in sorted(waiting, key=lambda each: (np.nan_to_num(created[each]), self._snapshot.pods.keys[each])):
            if self._rooms.tolerates(pod) or self._waited(pod) < self._spec.grace_seconds:
                continue
            reason = self._stays(pod)
            if reason is None and left > 0:
                decision = self._decided(pod)
                reason = None if decision.burst else Reason(decision.code, decision.message)
                if reason is None:
                    reason = self._unpaid(pod)
                if reason is None:
                    left -= 1
                    yield self._let_go(pod, Reason(decision.code, decision.message))
                    continue
            if reason is not None:
                yield Declined(self._snapshot.pod_ref(pod), reason)

    def homecomings(self, away: Sequence[int]) -> Iterator[AnyAction | Declined]:
        """Evict pods that are cheaper at home, where there has been room for them for long enough."""
        if not self._spec.come_home:
            return
        left = self._spec.per_cycle
        for pod in away:
            if pod in self._stopped or left <= 0 or not self._could_come_home(pod):
                continue
            workload = str(self._snapshot.workload_of(pod))
            since = min(self._before.room_since.get(workload, self._now), self._now)
            self._room_since[workload] = since
            if self._now - since < self._spec.home_stable_seconds:
                continue
            home = self._rooms.take_home(pod)
            if home is None:
                continue
            left -= 1
            message = f"{self._snapshot.nodes.names[home]} has had room for {self._now - since:.0f} s, and it pays"
            yield self._evicted(pod, Reason("ComesHome", message), -(self._price(pod) or 0.0))

    def stops(self, away: Sequence[int]) -> Iterator[AnyAction | Declined]:
        """Evict pods of namespaces whose money is spent, where that is wanted and they would be started again."""
        for pod in away:
            namespace = self._snapshot.pod_namespace(pod)
            if self._spec.budget_of(namespace).when_spent != "Stop" or not self._purse(namespace).is_spent:
                continue
            protected = protection(self._snapshot, pod, self._now)
            if protected is not None:
                yield Declined(self._snapshot.pod_ref(pod), protected)
            elif len(self._stopped) < self._spec.per_cycle:
                self._stopped.add(pod)
                reason = Reason("BudgetSpent", f"the budget of {namespace} is spent")
                yield self._evicted(pod, reason, -(self._price(pod) or 0.0))

    # -- one pod -------------------------------------------------------------------------------------------------------

    def _stays(self, pod: int) -> Reason | None:
        """Why a pod never bursts, or need not; None where it may."""
        asked = self._snapshot.pod_labels(pod).get(ASKED)
        kind = self._kind(pod)
        if kind == "DaemonSet":
            return Reason("DaemonSet", "a DaemonSet's pod belongs to its node")
        if asked == "false":
            return Reason("NotWanted", f"its label {ASKED} is false")
        if kind != _ENDS and not self._spec.services and asked != "true":
            return Reason(
                "Service", f"it runs until it is stopped; accepted: services: true, or the label {ASKED}: true"
            )
        if self._rooms.fits_now(pod):
            return Reason("FitsNow", "a real node has room for it")
        return self._rooms.obstacle(pod)

    def _decided(self, pod: int) -> Decision:
        run = self._run(pod)
        wait, real_price = self._rooms.expected(pod, self._now, self._ends, node_start=self._spec.node_start_seconds)
        overhead = (self._spec.node_start_seconds or 0.0) + self._spec.node_idle_seconds
        choice = Choice(self._waited(pod), run, self._price(pod), wait, real_price, overhead)
        return decide(
            choice,
            virtual_start=self._spec.virtual_start_seconds,
            waiting_cost_per_hour=self._spec.waiting_cost_per_hour,
            deadline=self._spec.deadline_seconds,
        )

    def _ends(self, pod: int) -> float | None:
        """When a running pod is expected to end; None where that is not known, or it has run for longer than was expected."""
        started, past = float(self._snapshot.pods.started[pod]), self._runs.get(_owner(self._snapshot, pod), ())
        known = run_time(past)
        return None if known is None or np.isnan(started) or started + known <= self._now else started + known

    def _let_go(self, pod: int, reason: Reason) -> Tolerate:
        self._rooms.take(pod)
        price = self._price(pod) or 0.0
        effect = Effect(money_per_hour=price)
        return Tolerate(
            policy=NAME,
            target=self._snapshot.pod_ref(pod),
            reason=reason,
            expected=effect,
            key=KEY,
            effect="NoSchedule",
        )

    def _could_come_home(self, pod: int) -> bool:
        """Whether moving a pod home would pay, it would be started again, and a real node has room for it."""
        price = self._price(pod)
        if price is None or protection(self._snapshot, pod, self._now) is not None or not self._rooms.fits_now(pod):
            return False
        started = float(self._snapshot.pods.started[pod])
        if np.isnan(started):
            return False
        elapsed, ends = max(self._now - started, 0.0), self._kind(pod) == _ENDS
        remaining = max(self._run(pod) - elapsed, 0.0) if ends else max(self._run(pod), elapsed)
        return pays_home(
            remaining=remaining,
            elapsed=elapsed,
            restartable_from_start=ends,
            virtual_price=price,
            restart=self._spec.virtual_start_seconds,
            waiting_cost_per_hour=self._spec.waiting_cost_per_hour,
        )

    def _evicted(self, pod: int, reason: Reason, money: float) -> Evict:
        return Evict(
            policy=NAME,
            target=self._snapshot.pod_ref(pod),
            reason=reason,
            expected=Effect(money_per_hour=money, risk=_RISK),
            node=self._snapshot.nodes.names[int(self._snapshot.pods.node[pod])],
            workload=self._snapshot.workload_of(pod),
        )

    def _price(self, pod: int) -> float | None:
        """Dollars per hour of a pod's rounded-up size."""
        size = self._tariff.size_for(self._rooms.requests(pod))
        return None if size is None else self._tariff.price_per_hour(size, spot=self._spec.spot)

    def _run(self, pod: int) -> float:
        past = self._runs.get(_owner(self._snapshot, pod), ())
        known = run_time(past)
        return self._spec.default_run_seconds if known is None else known

    def _waited(self, pod: int) -> float:
        created = float(self._snapshot.pods.created[pod])
        return 0.0 if np.isnan(created) else max(self._now - created, 0.0)

    def _kind(self, pod: int) -> str:
        owner = int(self._snapshot.pods.owner[pod])
        return self._snapshot.workloads.refs[owner].kind if owner >= 0 else ""

    def _purse(self, namespace: str) -> Purse:
        if namespace not in self._purses:
            budget = self._spec.budget_of(namespace)
            self._purses[namespace] = purse(budget, self._spent.get(namespace), self._count[namespace])
        return self._purses[namespace]

    def _unpaid(self, pod: int) -> Reason | None:
        namespace = self._snapshot.pod_namespace(pod)
        dollars = (self._price(pod) or 0.0) * self._run(pod) / 3600
        refusal = self._purse(namespace).refusal(dollars)
        if refusal:
            return Reason("Budget", f"namespace {namespace}: {refusal}")
        self._purses[namespace] = self._purse(namespace).without(dollars)
        return None


def _waiting(snapshot: ClusterSnapshot) -> list[int]:
    """The pods (rows) that wait for a node."""
    pods = snapshot.pods
    rows = pods.indices()
    rows = rows[(pods.node[rows] == NO_NODE) & ~pods.gated[rows] & np.isnan(pods.deleted[rows])]
    found: list[int] = rows[~np.isin(pods.phase[rows], (SUCCEEDED, FAILED))].tolist()
    return found


def _owner(snapshot: ClusterSnapshot, pod: int) -> str:
    """By what run times are kept: the top of the owner chain, so that a CronJob's jobs learn from one another; empty for a bare pod."""
    workload = snapshot.workload_of(pod)
    return "" if workload is None else f"{workload.kind}/{workload.namespace}/{workload.name}"


def _learnt(
    snapshot: ClusterSnapshot, memory: BurstMemory, now: float
) -> tuple[dict[str, tuple[float, ...]], dict[str, Seen]]:
    """Run times with those of the pods that ran at the last look and have ended, and the pods that run now."""
    pods = snapshot.pods
    rows = [row for row in pods.indices().tolist() if not np.isnan(pods.started[row])]
    over = {pods.keys[row] for row in rows if int(pods.phase[row]) in (SUCCEEDED, FAILED)}
    seen = {
        pods.keys[row]: Seen(_owner(snapshot, row), float(pods.started[row]))
        for row in rows
        if pods.keys[row] not in over and _owner(snapshot, row)
    }
    runs = dict(memory.runs)
    for key, before in memory.seen.items():
        if key not in seen and now > before.started:
            runs[before.owner] = with_run(runs.get(before.owner, ()), now - before.started)
    owners = {each.owner for each in seen.values()}
    alive = (
        owners
        | {_owner(snapshot, row) for row in pods.indices().tolist()}
        | {
            f"{ref.kind}/{ref.namespace}/{ref.name}"
            for ref, item in zip(snapshot.workloads.refs, snapshot.workloads.objects, strict=True)
            if item is not None
        }
    )
    return {owner: past for owner, past in runs.items() if owner in alive}, seen
