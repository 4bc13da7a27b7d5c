"""What a journal says of some objects: every decision about them, and what became of each."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from neaptide.loop import Cycle
from neaptide.model.actions import AnyAction, Evict, Ref
from neaptide.model.problems import LeftOut
from neaptide.model.times import timestamp
from neaptide.records.line import segments
from neaptide.records.reading import Corrupt, read

NAME = "journal"
"""The name under which a loop's cycles are logged."""

Concerns = Callable[[Ref], bool]


class Decision(msgspec.Struct, frozen=True):
    """A line of the journal about one object; `action` is empty where a policy looked at it and left it alone."""

    time: str
    policy: str
    action: str
    target: str
    reason: str
    outcome: str


class Past(msgspec.Struct, frozen=True, rename="camel"):
    """Decisions, oldest first, and the records that cannot be read."""

    decisions: list[Decision] = []
    left_out: list[LeftOut] = []


def about(wanted: Collection[Ref]) -> Concerns:
    """Whether a name is one of those wanted; one without a namespace stands for that name in any."""
    names = {(each.kind, each.namespace, each.name) for each in wanted}

    def concerns(ref: Ref) -> bool:
        return (ref.kind, ref.namespace, ref.name) in names or (ref.kind, "", ref.name) in names

    return concerns


def decisions(directory: Path, concerns: Concerns) -> Past | None:
    """What was decided about an object; None where there is no journal."""
    if not segments(directory, NAME):
        return None
    past = Past([], [])

    def corrupt(line: Corrupt) -> None:
        past.left_out.append(LeftOut(line.file, f"byte {line.offset}", "", line.reason, "a whole record"))

    for number, record in read(directory, NAME, on_corrupt=corrupt):
        try:
            past.decisions.extend(of_cycle(msgspec.convert(record, Cycle), concerns))
        except (msgspec.ValidationError, OverflowError, ValueError) as error:
            past.left_out.append(LeftOut(str(directory), f"record {number}", "", str(error), "a cycle of the loop"))
    return past


def of_cycle(cycle: Cycle, concerns: Concerns) -> Iterator[Decision]:
    """The decisions about an object in one cycle."""
    time = timestamp(cycle.time)
    for plan in cycle.plans:
        for each in plan.declined:
            if concerns(each.target):
                yield Decision(time, plan.policy, "", str(each.target), each.reason.message, "left alone")
    for outcome in cycle.outcomes:
        action = outcome.action
        if any(concerns(ref) for ref in _named(action)):
            why = outcome.reason.message
            became = outcome.result if why in ("", action.reason.message) else f"{outcome.result}: {why}"
            kind = type(action).__name__
            yield Decision(time, action.policy, kind, str(action.target), action.reason.message, became)


def _named(action: AnyAction) -> tuple[Ref, ...]:
    """Everything that an action names: its target, what it takes hold of, and the node that a pod leaves."""
    node = (Ref("Node", action.node),) if isinstance(action, Evict) else ()
    workload = (action.workload,) if isinstance(action, Evict) and action.workload else ()
    return (action.target, *action.concerns(), *node, *workload)
