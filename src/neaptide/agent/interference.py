"""Services that suffer on this node, and what is done against who makes them: limits and evictions here, the rest told to the controller.

What is looked at is in signals.py, what is done in noderules/interference.py. What is found goes into the service's metric in the NodeMetric, with its
evidence; the controller writes it into the journal, and moves a service away where nobody here is to blame.
"""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from math import isnan, nan
from statistics import fmean
from typing import Any

from neaptide.agent.disks import Disks
from neaptide.agent.evictions import Evictions
from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.readings import Look
from neaptide.agent.signals import KINDS, Sample, Sampler
from neaptide.model.node_metric import FINDINGS, SIGNALS
from neaptide.noderules.anomaly import AnomalySettings, Baseline, judged
from neaptide.noderules.disk import DiskLimits, DiskSettings
from neaptide.noderules.interference import Case, Change, InterferenceSettings, Seen, Step, decide, most_telling

_LEAST_MILLI = 20.0
_LEAST_BYTES = 1 << 16
"""A second."""
_LATELY = 3
"""Samples."""


class Interference:
    """Watches the services of a node.

    Args:
        settings: of the rule.
        evictions: who evicts.
        say: takes a sentence for the log.
        proc, sysfs: the mounts of these.

    Attributes:
        twins: tells, by UID and signal, the median of a service's twins; what nobody knows is not there.
        news: grows with each look at a service that suffers and about which nothing is done yet, and with each step.
    """

    def __init__(
        self,
        settings: InterferenceSettings,
        evictions: Evictions,
        say: Callable[[str], None],
        proc: str = "/proc",
        sysfs: str = "/sys",
    ) -> None:
        self._settings, self._evictions, self._say, self._proc, self._sysfs = settings, evictions, say, proc, sysfs
        self._sampler: Sampler | None = None
        self._baselines: dict[tuple[str, str], Baseline] = {}
        self._signals: dict[tuple[str, str], deque[float]] = {}
        self._used: dict[tuple[str, str], deque[float]] = {}
        self._cases: dict[str, Case] = {}
        self._limits: dict[str, float] = {}
        self._disk_limits: dict[str, int] = {}
        self._due = float("-inf")
        self._names: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self.twins: Callable[[], Mapping[str, Mapping[str, float]]] = dict
        self.news = 0

    def wanted(self, now: float, look: Look, groups: Groups) -> Wanted:
        """The limits of suppressed and throttled culprits; now and then, a look at who suffers."""
        late, seconds = now - self._due, self._settings.sample_seconds
        if late >= 0:
            # From when it was due, so that rounds that come a little early or late do not make the samples fewer.
            self._due = now + seconds - (late if late < seconds else 0.0)
            if self._sampler is None:
                self._sampler = Sampler(groups, self._proc, self._once)
            self._go_on(now, look, self._sampler.sample(now, look))
        there = {pod.at.uid: pod.at.group for pod in look.pods} if self._limits or self._disk_limits else {}
        wanted: Wanted = {}
        for uid in self._limits.keys() & there.keys():
            wanted |= groups.quota(there[uid], self._limits[uid])
        for uid in self._disk_limits.keys() & there.keys():
            limits = DiskLimits(read_bps=self._disk_limits[uid], write_bps=self._disk_limits[uid])
            wanted |= Disks(DiskSettings(), groups, self._sysfs).held(there[uid], limits)
        return wanted

    def extension(self, uid: str) -> Mapping[str, Any]:
        """What the metric of a pod says besides."""
        rows = {kind: self._signals.get((uid, kind)) for kind in KINDS}
        last = {
            kind: [each for each in islice(reversed(row), _LATELY) if not isnan(each)]
            for kind, row in rows.items()
            if row
        }
        lately = {kind: round(fmean(values), 2) for kind, values in last.items() if values}
        told: dict[str, Any] = {SIGNALS: {"lately": lately}} if lately else {}
        case = self._cases.get(uid)
        if case is not None and case.step is not Step.NOTHING:
            name, evidence = self._name(case.culprit), self._evidence(case)
            told[FINDINGS] = {"step": case.step.name, "culprit": name, "evidence": evidence}
        return told

    def suffering(self) -> list[str]:
        """The UIDs of those who do, whether something is done about it or not yet."""
        return list(self._cases)

    def _go_on(self, now: float, look: Look, sample: Sample) -> None:
        self._names = {uid: pod.name for uid, pod in look.objects.items()}
        for uid, used in sample.used.items():
            for resource, amount in used.items():
                self._row(self._used, (uid, resource)).append(amount)
        seen: dict[str, Seen] = {}
        twins = self.twins()
        for uid, signals in sample.signals.items():
            for kind in KINDS:
                if kind in signals or (uid, kind) in self._signals:
                    self._row(self._signals, (uid, kind)).append(signals.get(kind, nan))
            of_twins = twins.get(uid, {})
            found = [
                each
                for kind, value in signals.items()
                for each in self._seen(uid, kind, value, of_twins.get(kind, 0.0), sample)
            ]
            telling = most_telling(self._settings, found)
            if telling is not None:
                seen[uid] = telling
        there = {pod.at.uid for pod in look.pods}
        known: tuple[dict[tuple[str, str], Any], ...] = (self._used, self._signals, self._baselines)
        for rows in known:
            for key in [key for key in rows if key[0] not in there]:
                rows.pop(key)
        self._cases, changes = decide(self._settings, self._cases, seen, now)
        self.news += len(changes) + sum(case.step is Step.NOTHING for case in self._cases.values())
        for change in changes:
            self._act(change, look)
        for step, limits in ((Step.SUPPRESS, self._limits), (Step.THROTTLE_DISK, self._disk_limits)):
            for gone in limits.keys() - {case.culprit for case in self._cases.values() if step in case.taken}:
                limits.pop(gone)

    def _seen(self, uid: str, kind: str, value: float, twins: float, sample: Sample) -> list[Seen]:
        """A signal, once for each resource that somebody may take from the service."""
        row, about = self._signals[uid, kind], KINDS[kind]
        known = [at for at, each in enumerate(row) if not isnan(each)]
        anomaly, self._baselines[uid, kind] = judged(
            value, self._baselines.get((uid, kind), Baseline()), AnomalySettings(floor=about.floor), twins
        )
        signal, found = [row[at] for at in known], []
        for resource in about.resources:
            rows = {other: list(self._used[other, resource]) for other in sample.used}
            at_once = {other: ([0.0] * len(row) + used)[-len(row) :] for other, used in rows.items()}
            suspects = {other: [used[at] for at in known] for other, used in at_once.items()}
            found.append(Seen(about.name, signal, anomaly, suspects, resource))
        return found

    def _act(self, change: Change, look: Look) -> None:
        case, victim, keeps = change.case, self._name(change.victim), self._settings.suppress_to
        self._say(f"{victim}: {change.before.name} -> {case.step.name}: {self._evidence(case)}")
        if case.step is Step.SUPPRESS and case.culprit not in self._limits:
            now = look.use.by_uid.get(case.culprit, 0.0)
            self._limits[case.culprit] = max(keeps * now, _LEAST_MILLI)
        elif case.step is Step.THROTTLE_DISK and case.culprit not in self._disk_limits:
            traffic = self._used.get((case.culprit, "io")) or (0.0,)
            self._disk_limits[case.culprit] = max(round(keeps * traffic[-1]), _LEAST_BYTES)
        elif case.step is Step.EVICT and case.culprit in look.objects:
            self._evictions.evict(look.objects[case.culprit], f"{victim} suffers: {self._evidence(case)}")

    def _row(self, rows: dict[tuple[str, str], deque[float]], key: tuple[str, str]) -> deque[float]:
        return rows.setdefault(key, deque(maxlen=self._settings.window))

    def _once(self, about: str, sentence: str) -> None:
        if self._told.get(about) != sentence:
            self._told[about] = sentence
            self._say(sentence)

    def _evidence(self, case: Case) -> str:
        """For people, who know pods by name."""
        return case.evidence.replace(case.culprit, self._name(case.culprit)) if case.culprit else case.evidence

    def _name(self, uid: str) -> str:
        return self._names.get(uid, uid)
