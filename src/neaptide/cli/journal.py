"""What a journal says of one object: every decision about it, and what became of each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from neaptide.cli.exits import UsageError
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


def decisions(directory: str, concerns: Concerns) -> tuple[list[Decision], list[LeftOut]]:
    """The decisions about an object, oldest first, and the records that cannot be read.

    Args:
        directory: where the journal is.
        concerns: whether a name is that of the object.

    Raises:
        UsageError: there is no journal.
    """
    if not segments(Path(directory), NAME):
        raise UsageError(f"{directory}: no journal is there; accepted: a directory with {NAME}.*.jsonl files")
    found: list[Decision] = []
    left_out: list[LeftOut] = []

    def corrupt(line: Corrupt) -> None:
        left_out.append(LeftOut(line.file, f"byte {line.offset}", "", line.reason, "a whole record"))

    for number, record in read(directory, NAME, on_corrupt=corrupt):
        try:
            cycle = msgspec.convert(record, Cycle)
            found += of_cycle(cycle, concerns)
        except (msgspec.ValidationError, OverflowError, ValueError) as error:
            left_out.append(LeftOut(directory, f"record {number}", "", str(error), "a cycle of the loop"))
    return found, left_out


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
            became = f"{outcome.result}: {outcome.reason.message}" if outcome.reason.message else outcome.result
            kind = type(action).__name__
            yield Decision(time, action.policy, kind, str(action.target), action.reason.message, became)


def _named(action: AnyAction) -> tuple[Ref, ...]:
    """Everything that an action names: its target, what it takes hold of, and the node that a pod leaves."""
    node = (Ref("Node", action.node),) if isinstance(action, Evict) else ()
    workload = (action.workload,) if isinstance(action, Evict) and action.workload else ()
    return (action.target, *action.concerns(), *node, *workload)
