"""Policy `time-windows`: offline work runs in windows by the clock, or while services leave room; else it is suspended.

Which work a rule is about is found by offline_work, whether the rule is open by time_windows_state. Here is decided who
is suspended and who goes on: closing is gentle, age moves forward, and after a deadline work runs in any case.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from math import isnan, nan
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from neaptide.forecast.runtimes import run_time, with_run
from neaptide.model.actions import Declined, Effect, Plan, Reason, Ref, Resume, Suspend
from neaptide.model.qos import Band
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.workloads import SUSPEND_RUNNING, lets_suspend
from neaptide.policies.arbiter import nameless
from neaptide.policies.offline_queue import aged_priority, fits_before, is_overdue
from neaptide.policies.offline_work import BANDS, Census, Work, census, load, offline_pods, selects
from neaptide.policies.protection import protection
from neaptide.policies.time_windows_spec import Rule, TimeWindowsSpec
from neaptide.policies.time_windows_state import RuleMemory, State, state_of

NAME = "time-windows"
DEADLINE_PASSED = "DeadlinePassed"
_LOST_WORK = Effect(risk=0.2)
_LOWEST = {Band.FREE: 3000, Band.BATCH: 5000, Band.MID: 7000, Band.PROD: 9000}
"""By band, the priority of a workload that names none."""


class JobMemory(Struct, frozen=True):
    """What is remembered of a workload.

    Attributes:
        rule: the rule that it is under.
        band, priority: of its pods when they were last seen.
        since: when its wait began: a Job's creation, a service's suspension; None for a service that is not suspended.
        released: its deadline passed while it was suspended; until its rule opens it is left alone.
        started: when its pods began to run, None where none does.
        owner: the workload whose earlier runs tell how long this one runs, empty for none.
    """

    rule: str
    band: int
    priority: int
    since: float | None
    released: bool
    started: float | None
    owner: str


class LongestWait(Struct, frozen=True):
    """The longest time that a workload has been waiting, of all cycles so far."""

    seconds: float = 0.0
    workload: str = ""


class TimeWindowsMemory(Struct):
    """What is remembered of rules and of workloads, and by owner how long its latest jobs ran."""

    rules: dict[str, RuleMemory] = field(default_factory=dict)
    jobs: dict[str, JobMemory] = field(default_factory=dict)
    runs: dict[str, tuple[float, ...]] = field(default_factory=dict)
    longest_wait: LongestWait = LongestWait()


class _Job(NamedTuple):
    """A workload under a rule; `waited` is in seconds, `run_time` None where it is not known."""

    name: str
    work: Work
    known: JobMemory
    waited: float
    run_time: float | None


Decision = Suspend | Resume | Declined


class TimeWindows:
    """The policy."""

    name = NAME
    spec_type = TimeWindowsSpec
    memory_type = TimeWindowsMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: TimeWindowsSpec,
        memory: TimeWindowsMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, TimeWindowsMemory]:
        """Who is suspended, who is resumed, and who waits for what."""
        if not spec.rules:
            return Plan(NAME), TimeWindowsMemory(longest_wait=memory.longest_wait)
        found = census(snapshot, frozenset(kind for rule in spec.rules for kind in rule.selector.kinds))
        runs = _runs(snapshot, memory, {str(work.ref) for work in found.work}, now)
        rules = dict(zip(spec.names(), spec.rules, strict=True))
        jobs = _jobs([work for work in found.work if covers(work.ref)], rules, memory.jobs, runs, now)
        offline = offline_pods(snapshot, found, [job.work.row for job in jobs])
        decisions: list[Decision] = []
        states: dict[str, RuleMemory] = {}
        remembered: dict[str, JobMemory] = {}
        for name, rule in rules.items():
            busy = nan if rule.valley is None else load(snapshot, rule.valley, offline, now)
            state = state_of(name, rule, busy, memory.rules.get(name), now)
            mine = [job for job in jobs if job.known.rule == name]
            resumed = list(_resumed(snapshot, rule, state, mine, now))
            decisions += [*_suspended(snapshot, found, rule, state, mine, now), *resumed]
            states[name] = state.memory
            freed = {nameless(each.target) for each in resumed if each.reason.code == DEADLINE_PASSED}
            remembered |= {job.name: _after(job, state, freed) for job in mine}
        waits = [LongestWait(job.waited, job.name) for job in jobs if job.work.suspended]
        longest = max([memory.longest_wait, *waits], key=lambda wait: wait.seconds)
        actions = tuple(each for each in decisions if not isinstance(each, Declined))
        declined = tuple(each for each in decisions if isinstance(each, Declined))
        return Plan(NAME, actions, declined), TimeWindowsMemory(states, remembered, runs, longest)


def _runs(
    snapshot: ClusterSnapshot, memory: TimeWindowsMemory, there: Container[str], now: float
) -> dict[str, tuple[float, ...]]:
    """Run times by owner, with those of the jobs that ran and are no longer there; owners that are gone are forgotten."""
    runs = dict(memory.runs)
    for name, known in memory.jobs.items():
        if name not in there and known.owner and known.started is not None:
            runs[known.owner] = with_run(runs.get(known.owner, ()), now - known.started)
    owners = snapshot.workloads
    alive = {str(ref) for ref, item in zip(owners.refs, owners.objects, strict=True) if runs and item is not None}
    return {owner: past for owner, past in runs.items() if owner in alive}


def _jobs(
    found: Sequence[Work],
    rules: Mapping[str, Rule],
    memory: Mapping[str, JobMemory],
    runs: Mapping[str, tuple[float, ...]],
    now: float,
) -> list[_Job]:
    """The workloads that some rule is about; the first rule counts."""
    jobs = []
    for work in found:
        name = str(work.ref)
        before = memory.get(name)
        standing = work.standing
        if before is not None and not standing.seen:
            # Suspended before its template was known: what its pods were stands in the memory.
            rule = before.rule if before.rule in rules else None
            standing = standing._replace(band=BANDS[before.band], priority=before.priority)
        else:
            rule = next((each for each in rules if selects(rules[each].selector, work.ref, standing)), None)
        if rule is None:
            continue
        known = JobMemory(
            rule,
            int(standing.band),
            standing.priority,
            _since(work, before, now),
            released=before is not None and before.released,
            started=_started(work, before),
            owner=work.owner,
        )
        waited = 0.0 if known.since is None else now - known.since
        jobs.append(_Job(name, work, known, waited, run_time(runs.get(work.owner, ()))))
    return jobs


def _after(job: _Job, state: State, freed: Container[Ref]) -> JobMemory:
    """What is remembered of a workload after the decisions; `freed` are those that their deadline resumed."""
    released = not state.open and (job.known.released or job.work.ref in freed)
    return job.known if released is job.known.released else replace(job.known, released=released)


def _since(work: Work, before: JobMemory | None, now: float) -> float | None:
    """When a workload began to wait."""
    if work.ref.kind == "Job" and not isnan(work.created):
        return work.created
    if work.ref.kind != "Job" and not work.suspended:
        return None
    return now if before is None or before.since is None else before.since


def _started(work: Work, before: JobMemory | None) -> float | None:
    """When what runs of a workload began to run."""
    if not work.running:
        return None
    earlier = None if before is None else before.started
    if isnan(work.first_start):
        return earlier
    return work.first_start if earlier is None else min(earlier, work.first_start)


def _suspended(
    snapshot: ClusterSnapshot, found: Census, rule: Rule, state: State, jobs: Sequence[_Job], now: float
) -> Iterator[Suspend | Declined]:
    """While a rule is closed: what does not run yet at once, what runs after the grace, the least important first."""
    if state.open:
        return
    staying = [job for job in jobs if not job.work.suspended and not _overdue(rule, job)]
    left, patience = rule.max_per_cycle, state.since + rule.grace_seconds - now
    for job in sorted(staying, key=_least_important):
        work = job.work
        if work.running and patience > 0:
            yield Declined(work.ref, Reason("Grace", f"it may run for {patience:.0f} s more: {state.reason.message}"))
            continue
        item = snapshot.workloads.objects[work.row]
        if work.running and item is not None and not lets_suspend(item):
            yield Declined(work.ref, Reason("NoConsent", f"it runs, and has no annotation {SUSPEND_RUNNING}: true"))
            continue
        if left == 0:
            yield Declined(work.ref, _next_time(rule))
            continue
        pods = found.pods_of(work.row)
        protected = next((why for pod in pods if (why := protection(snapshot, pod, now)) is not None), None)
        if protected is not None:
            yield Declined(work.ref, protected)
            continue
        left -= 1
        risk = _LOST_WORK if work.running else Effect()
        target = _target(snapshot, work)
        yield Suspend(policy=NAME, target=target, reason=state.reason, expected=risk, pods=len(pods))


def _resumed(
    snapshot: ClusterSnapshot, rule: Rule, state: State, jobs: Sequence[_Job], now: float
) -> Iterator[Resume | Declined]:
    """What goes on: while a rule is open what fits before it closes, and at any time what has waited to its deadline."""
    left = rule.max_per_cycle
    for job in sorted((job for job in jobs if job.work.suspended), key=partial(_place, rule)):
        work, reason = job.work, state.reason
        if _overdue(rule, job):
            reason = Reason(
                DEADLINE_PASSED, f"it has waited {job.waited:.0f} s, longer than the rule {state.name} lets it"
            )
        elif not state.open:
            yield Declined(work.ref, Reason("Waiting", f"it has waited {job.waited:.0f} s: {reason.message}"))
            continue
        elif not fits_before(state.closing, now, run_time=job.run_time, margin=rule.margin_seconds):
            yield Declined(work.ref, _too_late(rule, job, reason))
            continue
        if left == 0:
            yield Declined(work.ref, _next_time(rule))
        else:
            left -= 1
            yield Resume(policy=NAME, target=_target(snapshot, work), reason=reason)


def _target(snapshot: ClusterSnapshot, work: Work) -> Ref:
    """The object itself, and no later one of its name."""
    item = snapshot.workloads.objects[work.row]
    return work.ref if item is None else replace(work.ref, uid=item.metadata.uid)


def _overdue(rule: Rule, job: _Job) -> bool:
    """Whether a workload runs in any case."""
    return job.known.released or is_overdue(job.waited, deadline=rule.deadline_seconds)


def _least_important(job: _Job) -> tuple[bool, int, int, float, str]:
    """Order of suspension: what does not run; then the lowest band, the lowest priority, the latest start."""
    work, known = job.work, job.known
    return (work.running > 0, known.band, known.priority, 0.0 if isnan(work.last_start) else -work.last_start, job.name)


def _place(rule: Rule, job: _Job) -> tuple[bool, float, float, str]:
    """Order of resumption: what is overdue; then by priority and age; then the longest wait."""
    priority = job.known.priority or _LOWEST[BANDS[job.known.band]]
    aged = aged_priority(priority, job.waited, seconds_per_point=rule.aging_seconds_per_point)
    return (not _overdue(rule, job), -aged, -job.waited, job.name)


def _next_time(rule: Rule) -> Reason:
    return Reason("BoundOfCycle", f"{rule.max_per_cycle} others of its rule come first in this cycle")


def _too_late(rule: Rule, job: _Job, reason: Reason) -> Reason:
    needs = max(job.run_time or 0.0, rule.margin_seconds)
    return Reason("TooLate", f"it has waited {job.waited:.0f} s and needs {needs:.0f} s: {reason.message}")
