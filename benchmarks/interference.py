"""Planted culprits: how often the right pod is blamed for a service that suffers, and how often one is where none is to blame.

Random nodes: a service with two twins elsewhere, four to ten offline pods whose use wanders or switches on and off, noise on everything. In half of them one offline pod
disturbs the service while it is busy, and in a third of these an innocent pod mostly runs when the culprit does; in a quarter all twins have more to do at once; in a
quarter nothing happens. As on a cluster, twins are known only while the service suffers, are asked for every 15 s, and tell what their last report said: it is up to
a minute old, or ten seconds while they begin to suffer themselves. Precision counts every pod that something was done against, recall the planted culprits.
"""

from collections.abc import Iterator
from random import Random
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.figure import Figure
from neaptide.noderules.anomaly import AnomalySettings, Baseline, judged
from neaptide.noderules.interference import Case, InterferenceSettings, Seen, decide

SCENES, QUIET, LOUD, PERIOD = 1000, 120, 180, 5.0
REPORTED, EARLY, ASKED, LATELY = 12, 2, 3, 3
"""Samples between a twin's reports, and between those while it begins to suffer; between questions; in what a report says."""
_PATIENCE = round(InterferenceSettings().patience_seconds / PERIOD)


class Outcome(NamedTuple):
    """Who was planted and who was blamed; empty for nobody. `seconds` is from the disturbance to the first step."""

    planted: str
    blamed: str
    seconds: float | None


class Twin:
    """Another pod of the service, on a node of its own."""

    def __init__(self) -> None:
        self._signal: list[float] = []
        self._baseline, self._suffers = Baseline(), 0
        self.reported = 0.0

    def sees(self, value: float, at: int) -> None:
        """One sample more, and a report where it is time for one."""
        self._signal.append(value)
        anomaly, self._baseline = judged(value, self._baseline, AnomalySettings())
        self._suffers = self._suffers + 1 if anomaly else 0
        early = 0 < self._suffers <= _PATIENCE and self._suffers % EARLY == 0
        if at % REPORTED == 0 or early:
            self.reported = fmean(self._signal[-LATELY:])


def scene(seed: int) -> Outcome:
    """One node, sampled every five seconds: quiet for ten minutes, then a quarter of an hour in which something happens, or not."""
    random = Random(seed)
    kind = random.choice(["culprit", "culprit", "load", "nothing"])
    pods = [f"job-{number}" for number in range(random.randint(4, 10))]
    planted = random.choice(pods) if kind == "culprit" else ""
    base, noise, gain = random.uniform(1, 20), random.uniform(0.05, 0.2), random.uniform(0.7, 3.0)
    alike = random.choice([pod for pod in pods if pod != planted]) if planted and random.random() < 1 / 3 else ""
    busy = {pod: random.random() < 0.5 for pod in pods}
    level = {pod: random.uniform(200, 4000) for pod in pods}
    switch = {pod: random.uniform(0.01, 0.1) for pod in pods}
    signal: list[float] = []
    of_twins = Twin(), Twin()
    known = 0.0
    used: dict[str, list[float]] = {pod: [] for pod in pods}
    baseline, cases, asked_at = Baseline(), dict[str, Case](), 0
    for at in range(QUIET + LOUD):
        loud = at >= QUIET
        for pod in pods:
            busy[pod] ^= random.random() < switch[pod]
        if alike and random.random() < 0.7:
            busy[alike] = busy[planted]
        for pod in pods:
            quiet = pod == planted and not loud
            used[pod].append(0.0 if quiet else level[pod] * (busy[pod] or 0.05) * random.uniform(0.8, 1.2))
        more = 1.0 + (random.uniform(0.8, 1.5) if kind == "load" and loud else 0.0)
        disturbed = gain * used[planted][-1] / level[planted] if planted and loud else 0.0
        value, *twins = (
            base * (more + (disturbed if own else 0.0)) * max(random.gauss(1, noise), 0.1)
            for own in (True, False, False)
        )
        signal.append(value)
        for twin, told in zip(of_twins, twins, strict=True):
            twin.sees(told, at)
        if not cases:
            asked_at, known = at, 0.0
        elif (at - asked_at) % ASKED == 1:
            known = median(twin.reported for twin in of_twins)
        anomaly, baseline = judged(value, baseline, AnomalySettings(), known)
        seen = Seen("latency", signal, anomaly, used)
        cases, changes = decide(InterferenceSettings(), cases, {"web": seen}, at * PERIOD)
        for change in changes:
            if change.case.culprit:
                return Outcome(planted, change.case.culprit, (at - QUIET) * PERIOD)
    return Outcome(planted, "", None)


def measure() -> Iterator[Figure]:
    """Precision and recall over random scenes, and the time to the first step against the right one."""
    found = [scene(seed) for seed in range(SCENES)]
    blamed = [each for each in found if each.blamed]
    right = [each for each in blamed if each.blamed == each.planted]
    planted = sum(bool(each.planted) for each in found)
    times = sorted(each.seconds or 0.0 for each in right)
    yield Figure("interference.precision", len(right) / max(len(blamed), 1), "")
    yield Figure("interference.recall", len(right) / max(planted, 1), "")
    yield Figure("interference.seconds_to_first_step.p50", times[len(times) // 2] if times else None, "s")


GROUPS = {"interference": measure}
