"""Services that suffer on this node, and what is done against who makes them: limits and evictions here, the rest told to the controller.

A service's signal is how long its processes waited for a CPU: pressure (PSI) where the kernel has it, else its threads' run-queue wait (`schedstat`), as a percentage of
the time. Suspects are the pods that give way, by the CPU that they used at the same moments. What is found goes into the service's metric in the NodeMetric, with its
evidence; the controller writes it into the journal, and moves a service away where nobody here is to blame.
"""

from collections import deque
from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from neaptide.agent.evictions import Evictions
from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.layout import Listing
from neaptide.agent.readings import Look, NodePod
from neaptide.noderules.anomaly import AnomalySettings, Baseline, judged
from neaptide.noderules.interference import Case, Change, InterferenceSettings, Seen, Step, decide

FINDINGS = "neaptide.io/interference"
"""The extension of a pod's metric."""
_EVERY = 5.0  # seconds from sample to sample
_LEAST_PERCENT = 5.0
_LEAST_MILLI = 20.0


class Interference:
    """Watches the services of a node.

    Args:
        settings: of the rule.
        evictions: who evicts.
        say: takes a sentence for the log.
        proc: the mount of proc.
    """

    def __init__(
        self, settings: InterferenceSettings, evictions: Evictions, say: Callable[[str], None], proc: str = "/proc"
    ) -> None:
        self._settings, self._evictions, self._say, self._proc = settings, evictions, say, proc
        self._anomaly = AnomalySettings(floor=_LEAST_PERCENT)
        self._baselines: dict[str, Baseline] = {}
        self._signals: dict[str, deque[float]] = {}
        self._used: dict[str, deque[float]] = {}
        self._waited: dict[str, tuple[float, float]] = {}
        self._cases: dict[str, Case] = {}
        self._limits: dict[str, float] = {}
        self._at = float("-inf")
        self._listing = Listing()
        self._names: dict[str, str] = {}

    def wanted(self, now: float, look: Look, groups: Groups) -> Wanted:
        """The limits of suppressed culprits; now and then, a look at who suffers."""
        if now - self._at >= _EVERY:
            self._at = now
            self._sample(now, look, groups)
        there = {pod.at.uid: pod.at.group for pod in look.pods}
        wanted: Wanted = {}
        for uid, milli in self._limits.items():
            if uid in there:
                wanted |= groups.quota(there[uid], milli)
        return wanted

    def extension(self, uid: str) -> Mapping[str, Any]:
        """What the metric of a pod says besides."""
        case = self._cases.get(uid)
        if case is None or case.step is Step.NOTHING:
            return {}
        found = {"step": case.step.name, "culprit": self._name(case.culprit), "evidence": case.evidence}
        return {FINDINGS: found}

    def _sample(self, now: float, look: Look, groups: Groups) -> None:
        self._names = {uid: pod.name for uid, pod in look.objects.items()}
        give_way = [pod.at.uid for pod in look.pods if pod.best_effort and pod.known]
        services = [pod for pod in look.pods if not pod.best_effort and pod.known]
        for uid in give_way:
            used = look.use.by_uid.get(uid, 0.0)
            self._row(self._used, uid).append(0.0 if isnan(used) else used)
        seen: dict[str, Seen] = {}
        for pod in services:
            value = self._wait(pod, look, groups, now)
            if value is not None:
                seen[pod.at.uid] = self._seen(pod.at.uid, value, give_way)
        there = {pod.at.uid for pod in look.pods}
        known: tuple[dict[str, Any], ...] = (self._used, self._signals, self._baselines, self._waited, self._limits)
        for rows in known:
            for gone in rows.keys() - there:
                del rows[gone]
        self._cases, changes = decide(self._settings, self._cases, seen, now)
        for change in changes:
            self._act(change, look)

    def _seen(self, uid: str, value: float, give_way: list[str]) -> Seen:
        signal = self._row(self._signals, uid)
        signal.append(value)
        anomaly, self._baselines[uid] = judged(value, self._baselines.get(uid, Baseline()), self._anomaly)
        number = len(signal)
        suspects = {other: ([0.0] * number + list(self._used[other]))[-number:] for other in give_way}
        return Seen("time waited for a CPU, percent", list(signal), anomaly, suspects)

    def _act(self, change: Change, look: Look) -> None:
        case, victim = change.case, self._name(change.victim)
        self._say(f"{victim}: {change.before.name} -> {case.step.name}: {case.evidence}")
        if case.step is Step.SUPPRESS and change.before < Step.SUPPRESS:
            now = look.use.by_uid.get(case.culprit, 0.0)
            self._limits[case.culprit] = max(self._settings.suppress_to * now, _LEAST_MILLI)
        elif case.step is Step.EVICT and case.culprit in look.objects:
            self._evictions.evict(look.objects[case.culprit], f"{victim} suffers: {case.evidence}")
        if case.step is Step.NOTHING:
            self._limits.pop(case.culprit, None)

    def _wait(self, pod: NodePod, look: Look, groups: Groups, now: float) -> float | None:
        """Percent of the time; None where nobody can tell."""
        pressure = look.pressure.get(pod.at.group)
        if pressure is not None and pressure.cpu is not None:
            return pressure.cpu
        waited = self._run_queue(pod.at.group, groups)
        if waited is None:
            return None
        before = self._waited.get(pod.at.uid)
        self._waited[pod.at.uid] = now, waited
        if before is None or now <= before[0] or waited < before[1]:
            return None
        return 100 * (waited - before[1]) / (now - before[0])

    def _run_queue(self, group: str, groups: Groups) -> float | None:
        """Seconds that the main threads of a pod's processes have waited for a CPU so far; None where none can be read.

        An agent in a PID namespace of its own sees no process of another one: there pressure is the only signal.
        """
        nanoseconds, read = 0, False
        for each in (group, *groups.layout.below(group, self._listing)):
            try:
                pids = Path(groups.layout.directory(each), "cgroup.procs").read_text().split()
                nanoseconds += sum(int(Path(self._proc, pid, "schedstat").read_text().split()[1]) for pid in pids)
                read = read or bool(pids)
            except (OSError, ValueError, IndexError):
                continue
        return nanoseconds / 1e9 if read else None

    def _row(self, rows: dict[str, deque[float]], uid: str) -> deque[float]:
        return rows.setdefault(uid, deque(maxlen=self._settings.window))

    def _name(self, uid: str) -> str:
        return self._names.get(uid, uid)
