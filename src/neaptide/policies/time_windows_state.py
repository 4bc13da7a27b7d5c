"""Whether a rule of `time-windows` is open, since when, until when, and why."""

from math import inf, isnan
from typing import NamedTuple

from msgspec import Struct

from neaptide.model.actions import Reason
from neaptide.model.times import timestamp
from neaptide.policies.offline_queue import in_valley
from neaptide.policies.time_windows_spec import Rule, Valley
from neaptide.policies.window_schedule import Window, closes_at, next_open


class RuleMemory(Struct, frozen=True):
    """What is remembered of a rule.

    Attributes:
        open: whether it was.
        since: when it opened or closed, seconds since the epoch.
        low_since: when the load fell below the watermark, None while it is above.
    """

    open: bool
    since: float
    low_since: float | None = None


class State(NamedTuple):
    """A rule now.

    Attributes:
        name: of the rule.
        open: whether its work may run.
        since: since when that is so.
        closing: when it closes, None where that is not known or not so.
        reason: why it is open or closed.
        memory: what is to be remembered.
    """

    name: str
    open: bool
    since: float
    closing: float | None
    reason: Reason
    memory: RuleMemory


def state_of(name: str, rule: Rule, load: float, before: RuleMemory | None, now: float) -> State:
    """A rule at `now`. `load` is that of its valley, nan where it is unknown or there is no valley."""
    windows = rule.parsed()
    closing = closes_at(windows, now)
    low_since = _low_since(rule.valley, load, before, now)
    calm = rule.valley is not None and low_since is not None and now - low_since >= rule.valley.minimum_seconds
    is_open = calm or closing is not None
    since = before.since if before is not None and before.open == is_open else now
    if calm:
        reason = Reason("Valley", f"the load is {load:.0%}, and the rule {name} is open in valleys")
    elif closing is not None:
        until = "for good" if closing == inf else f"until {timestamp(closing)}"
        reason = Reason("WindowOpen", f"the rule {name} is open {until}")
    else:
        reason = Reason("Closed", f"the rule {name} is closed: {_when(rule.valley, windows, load, low_since, now)}")
    known_end = None if calm or closing == inf else closing
    return State(name, is_open, since, known_end, reason, RuleMemory(is_open, since, low_since))


def _low_since(valley: Valley | None, load: float, before: RuleMemory | None, now: float) -> float | None:
    if valley is None:
        return None
    since = None if before is None else before.low_since
    low = in_valley(load, was=since is not None, watermark=valley.watermark, hysteresis=valley.hysteresis)
    return (now if since is None else since) if low else None


def _when(valley: Valley | None, windows: tuple[Window, ...], load: float, low_since: float | None, now: float) -> str:
    """What a closed rule waits for."""
    parts = []
    if windows:
        opening = next_open(windows, now)
        parts.append("no window opens again" if opening is None else f"its next window opens at {timestamp(opening)}")
    if valley is not None and low_since is not None:
        parts.append(f"the load has been low for {now - low_since:.0f} s of {valley.minimum_seconds:.0f}")
    elif valley is not None:
        at = "unknown" if isnan(load) else f"{load:.0%}"
        parts.append(f"the load is {at}, a valley begins below {valley.watermark:.0%}")
    return "; ".join(parts)
