"""What is done about a pod that suffers: nothing at once, then step by step more against who is the likeliest culprit, and step by step back.

The steps are to suppress the culprit's CPU, to throttle its disks, to evict it, and, where nobody who gives way is to blame, to have the victim moved away. A step is
taken after the victim has suffered for `patience_seconds`, the next after as long again without relief; one is taken back after `calm_seconds` without. Every decision
carries its evidence.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from neaptide.noderules.anomaly import Anomaly
from neaptide.noderules.culprits import ranked


class Step(IntEnum):
    """What is in force against a culprit, from nothing to the most."""

    NOTHING = 0
    SUPPRESS = 1
    THROTTLE_DISK = 2
    EVICT = 3
    MOVE = 4


class InterferenceSettings(NamedTuple):
    """When something is done.

    Attributes:
        confidence: who is less sure to be the culprit is left alone.
        patience_seconds: how long a victim suffers before each step.
        calm_seconds: how long it must not suffer before a step is taken back.
        window: samples that are compared.
        last: the furthest step that is taken against a culprit.
        suppress_to: the part of its use that a suppressed culprit keeps.
    """

    confidence: float = 0.5
    patience_seconds: float = 30.0
    calm_seconds: float = 120.0
    window: int = 30
    last: Step = Step.EVICT
    suppress_to: float = 0.25


class Case(NamedTuple):
    """A victim that suffers, or did a moment ago.

    Attributes:
        culprit: whom something is done against; empty where nobody is to blame.
        step: what is in force.
        changed: when that began (or the suffering, while it is nothing).
        calm: since when the victim does not suffer; None while it does.
        evidence: a sentence.
    """

    culprit: str
    step: Step
    changed: float
    calm: float | None
    evidence: str


class Seen(NamedTuple):
    """One victim now.

    Attributes:
        name: of its signal, for people.
        signal: its latest values, the newest last.
        anomaly: whether the newest is out of the ordinary.
        suspects: by pod that gives way, what each used at the same moments.
    """

    name: str
    signal: Sequence[float]
    anomaly: Anomaly | None
    suspects: Mapping[str, Sequence[float]]


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
    culprit, evidence = _blamed(settings, seen)
    if before.step is Step.NOTHING or (culprit and culprit != before.culprit):
        step = Step.SUPPRESS if culprit else Step.MOVE
    elif before.step < settings.last:
        culprit, step = before.culprit, Step(before.step + 1)
    else:
        culprit, step = before.culprit, Step.MOVE
    return Case(culprit, step, now, None, evidence)


def _is_calm(settings: InterferenceSettings, before: Case | None, now: float) -> Case | None:
    if before is None or before.step is Step.NOTHING:
        return None
    if before.calm is None:
        return before._replace(calm=now)
    if now - before.calm < settings.calm_seconds:
        return before
    # Evictions cannot be taken back; what leads there is, one step at a time.
    step = Step(before.step - 1) if before.step in (Step.SUPPRESS, Step.THROTTLE_DISK) else Step.NOTHING
    return None if step is Step.NOTHING else before._replace(step=step, changed=now, calm=now)


def _blamed(settings: InterferenceSettings, seen: Seen) -> tuple[str, str]:
    """The culprit, empty where nobody is sure enough, and the evidence."""
    if seen.anomaly is None:
        return "", ""
    value, threshold = seen.anomaly
    what = f"{seen.name} {value:.3g}, above {threshold:.3g}"
    window = settings.window
    found = ranked(seen.signal[-window:], threshold, {pod: used[-window:] for pod, used in seen.suspects.items()})
    if not found or found[0].confidence < settings.confidence:
        least = f"; the likeliest is {found[0].pod} with {found[0].confidence:.2f}" if found else ""
        return "", f"{what}, and nobody beside it is to blame{least}"
    return found[0].pod, f"{what}; {found[0].pod} goes up and down with it (confidence {found[0].confidence:.2f})"
