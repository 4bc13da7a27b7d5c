"""What is done about a pod that suffers: nothing at once, then step by step more against who is the likeliest culprit, and step by step back.

Which steps there are follows from what the victim waits for: a culprit's CPU is suppressed for CPUs, its disks are throttled for disks, and for memory, which it does not
give back, it is evicted, as it is where the milder step has not helped. Where nobody who gives way is to blame the victim is moved away. A step is
taken after the victim has suffered for `patience_seconds`, the next after as long again without relief; one is taken back after `calm_seconds` without. Every decision
carries its evidence.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from neaptide.noderules.anomaly import Anomaly
from neaptide.noderules.culprits import Culprit, ranked


class Step(IntEnum):
    """What is in force against a culprit, from nothing to the most."""

    NOTHING = 0
    SUPPRESS = 1
    THROTTLE_DISK = 2
    EVICT = 3
    MOVE = 4


STEPS = {"cpu": (Step.SUPPRESS, Step.EVICT), "io": (Step.THROTTLE_DISK, Step.EVICT), "memory": (Step.EVICT,)}
"""Against a culprit, by the resource that it takes from the victim."""
_REVERSIBLE = (Step.SUPPRESS, Step.THROTTLE_DISK)


class InterferenceSettings(NamedTuple):
    """When something is done.

    Attributes:
        confidence: who is less sure to be the culprit is left alone.
        patience_seconds: how long a victim suffers before each step.
        calm_seconds: how long it must not suffer before a step is taken back.
        window: samples that are compared.
        last: the furthest step that is taken against a culprit.
        suppress_to: the part of its use that a suppressed or throttled culprit keeps.
        sample_seconds: from one look at all signals to the next.
    """

    confidence: float = 0.5
    patience_seconds: float = 30.0
    calm_seconds: float = 120.0
    window: int = 60
    last: Step = Step.EVICT
    suppress_to: float = 0.25
    sample_seconds: float = 5.0


class Case(NamedTuple):
    """A victim that suffers, or did a moment ago.

    Attributes:
        culprit: whom something is done against; empty where nobody is to blame.
        step: what is in force.
        changed: when that began (or the suffering, while it is nothing).
        calm: since when the victim does not suffer; None while it does.
        evidence: a sentence.
        taken: the steps that are in force against the culprit, the last one last.
    """

    culprit: str
    step: Step
    changed: float
    calm: float | None
    evidence: str
    taken: tuple[Step, ...] = ()


class Seen(NamedTuple):
    """One victim now.

    Attributes:
        name: of its signal, for people.
        signal: its latest values, the newest last.
        anomaly: whether the newest is out of the ordinary.
        suspects: by pod that gives way, what each used at the same moments.
        resource: of STEPS, what they used.
    """

    name: str
    signal: Sequence[float]
    anomaly: Anomaly | None
    suspects: Mapping[str, Sequence[float]]
    resource: str = "cpu"


class Change(NamedTuple):
    """A step that is taken or taken back, for the journal."""

    victim: str
    case: Case
    before: Step


def decide(
    settings: InterferenceSettings, cases: Mapping[str, Case], seen: Mapping[str, Seen], now: float
) -> tuple[dict[str, Case], list[Change]]:
    """The cases from now on, by victim, and what changed. A victim that is no longer seen is no case any more."""
    after: dict[str, Case] = {}
    changes = []
    for victim, each in seen.items():
        before = cases.get(victim)
        case = _suffers(settings, before, each, now) if each.anomaly else _is_calm(settings, before, now)
        if case is not None:
            after[victim] = case
        was = Step.NOTHING if before is None else before.step
        if case is not None and case.step != was:
            changes.append(Change(victim, case, was))
        elif case is None and before is not None and was != Step.NOTHING:
            changes.append(Change(victim, before._replace(step=Step.NOTHING), was))
    gone = [victim for victim, case in cases.items() if victim not in seen and case.step != Step.NOTHING]
    changes += [Change(victim, cases[victim]._replace(step=Step.NOTHING), cases[victim].step) for victim in gone]
    return after, changes


def _suffers(settings: InterferenceSettings, before: Case | None, seen: Seen, now: float) -> Case:
    if before is None:
        return Case("", Step.NOTHING, now, None, "")
    if now - before.changed < settings.patience_seconds or before.step is Step.MOVE:
        return before._replace(calm=None)
    found, evidence = _blamed(settings, seen)
    culprit = found.pod if found else ""
    if before.step is Step.NOTHING or (culprit and culprit != before.culprit):
        taken: tuple[Step, ...] = ()
    else:
        culprit, taken = before.culprit, before.taken
    ahead = [each for each in STEPS[seen.resource] if each <= settings.last and each > max(taken, default=Step.NOTHING)]
    step = ahead[0] if culprit and ahead else Step.MOVE
    return Case(culprit, step, now, None, evidence, (*taken, step))


def _is_calm(settings: InterferenceSettings, before: Case | None, now: float) -> Case | None:
    if before is None or before.step is Step.NOTHING:
        return None
    if before.calm is None:
        return before._replace(calm=now)
    if now - before.calm < settings.calm_seconds:
        return before
    # Evictions cannot be taken back; what leads there is, one step at a time.
    left = before.taken[:-1] if before.step in _REVERSIBLE else ()
    return before._replace(step=left[-1], changed=now, calm=now, taken=left) if left else None


def most_telling(settings: InterferenceSettings, signals: Sequence[Seen]) -> Seen | None:
    """Of one victim's signals the one to go by: out of the ordinary, with the surest culprit; any where all is calm, None where nothing is known."""

    def sure(seen: Seen) -> tuple[bool, float]:
        found, _ = _blamed(settings, seen)
        return seen.anomaly is not None, found.confidence if found else 0.0

    return max(signals, key=sure, default=None)


def _blamed(settings: InterferenceSettings, seen: Seen) -> tuple[Culprit | None, str]:
    """The culprit, None where nobody is sure enough, and the evidence."""
    if seen.anomaly is None:
        return None, ""
    value, threshold = seen.anomaly
    what = f"{seen.name} {value:.3g}, above {threshold:.3g}"
    window = settings.window
    found = ranked(seen.signal[-window:], threshold, {pod: used[-window:] for pod, used in seen.suspects.items()})
    if not found or found[0].confidence < settings.confidence:
        least = f"; the likeliest is {found[0].pod} with {found[0].confidence:.2f}" if found else ""
        return None, f"{what}, and nobody beside it is to blame{least}"
    of_it = {"cpu": "CPU", "io": "disk traffic", "memory": "memory"}[seen.resource]
    return found[
        0
    ], f"{what}; the {of_it} of {found[0].pod} goes up and down with it (confidence {found[0].confidence:.2f})"
