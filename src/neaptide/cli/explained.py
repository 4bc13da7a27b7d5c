"""What the explanations of pods and of nodes have in common."""

import sys
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from math import isnan

from neaptide.cli.exits import OK, PARTIAL
from neaptide.cli.journal import Decision
from neaptide.cli.output import emit
from neaptide.model.problems import LeftOut

_SHOWN = 5


def known(names: Collection[str], wanted: str) -> str:
    """What names there are, for an error about one that is not there: the closest ones first."""
    if not names:
        return "nothing, for there is none"
    close = get_close_matches(wanted, names, _SHOWN) or sorted(names)[:_SHOWN]
    more = len(names) - len(close)
    return "one of " + ", ".join(close) + (f" and {more} more" if more else "")


def measured(usage: float) -> float | None:
    """A measured amount; None where nothing was measured (nan)."""
    return None if isnan(usage) else float(usage)


def print_decisions(found: Sequence[Decision]) -> None:
    """The decisions about an object as a table; nothing is said where there are none."""
    if found:
        emit(found, "table", title=f"decisions ({len(found)})")
    else:
        print("No policy has anything to say about it.")


def conclude(left_out: Sequence[LeftOut]) -> int:
    """Say on standard error what was left out of the input; the exit code."""
    if left_out:
        print(f"neaptide: {len(left_out)} left out, the first: {left_out[0]}", file=sys.stderr)
    return PARTIAL if left_out else OK
