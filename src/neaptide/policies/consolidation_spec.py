"""Settings of the policy `consolidation`. A spec in hand is one that can be used: what cannot raises when it is made."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from neaptide.model.problems import FieldError
from neaptide.policies.window_schedule import Window, WindowSpec, is_open, parse_window

ReasonName = Literal["Underutilized", "Empty"]

_Seconds = Annotated[float, Meta(ge=0, le=10**9, description="seconds from 0 to 1000000000")]
_Positive = Annotated[float, Meta(gt=0, le=10**9, description="seconds above 0, at most 1000000000")]
_Money = Annotated[float, Meta(ge=0, le=10**6, description="US dollars per hour from 0 to 1000000")]
_Count = Annotated[int, Meta(ge=0, le=10**9, description="an integer from 0 to 1000000000")]
_Percentage = Annotated[
    str, Meta(pattern="^((100|[0-9]{1,2})%|[0-9]+)$", description="a number of nodes, or a percentage such as 10%")
]
_Pods = Annotated[
    str, Meta(pattern="^((100|[0-9]{1,2})%|[0-9]+)$", description="a number of pods, or a percentage such as 4%")
]
_LEAST_AT_ONCE = 4
"""Of a percentage of few pods nothing might be left."""


class Budget(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How many nodes may be on their way out at once, as in a Karpenter NodePool.

    Attributes:
        nodes: a number, or a percentage of all nodes, rounded up.
        reasons: what it limits; everything where none is named.
        schedule, duration_seconds, time_zone: when it holds (see window_schedule); always where there is no schedule.
    """

    nodes: _Percentage = "10%"
    reasons: tuple[ReasonName, ...] = ()
    schedule: str = ""
    duration_seconds: _Seconds = 0.0
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        """Raises FieldError for a window that cannot be."""
        self.window()

    def window(self) -> Window | None:
        """When it holds; None for always."""
        if not self.schedule:
            if self.duration_seconds:
                raise FieldError("durationSeconds", self.duration_seconds, "no duration where there is no schedule")
            return None
        return parse_window(WindowSpec(self.schedule, self.duration_seconds, self.time_zone))

    def holds(self, now: float) -> bool:
        """Whether it counts now."""
        window = self.window()
        return window is None or is_open([window], now)

    def allowed(self, nodes: int) -> int:
        """Of so many nodes."""
        return _part(self.nodes, nodes)


class ConsolidationSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What may be done, and for how much.

    Attributes:
        goal: the least money that the limits allow, or the fewest evictions that reach `target_money_per_hour`.
        target_money_per_hour: for the second goal, what the nodes may cost.
        max_evictions: at most so many within `eviction_window_seconds`; None for any number. A few are left to plans that mend one.
        minimum_saving_per_eviction: an eviction must save so much, in US dollars per hour.
        minimum_saving_percent: a plan that costs evictions must save so much of what is paid now.
        consolidate_after_seconds: a node is left alone for so long after a pod came to it, and after it was made.
        cool_down_seconds: after the last eviction of a plan, no other plan with evictions is made for so long.
        budgets: all that hold now apply.
        moves_at_once: how many pods may be on their way at once: a number, or a percentage of all pods, rounded up, then at least 4.
        replace: whether nodes may be bought for those that go.
        capacity_types: what may be bought; where none is named, those that the pool has nodes of.
        start_seconds: how long a bought node may take to become ready; then those that wait for it stay.
        timeout_seconds: how long a node may take to become empty; then it stays.
    """

    goal: Literal["LeastMoney", "FewestEvictions"] = "LeastMoney"
    target_money_per_hour: _Money | None = None
    max_evictions: _Count | None = None
    eviction_window_seconds: _Positive = 3600.0
    minimum_saving_per_eviction: _Money = 0.0005
    minimum_saving_percent: Annotated[float, Meta(ge=0, le=100, description="a number from 0 to 100")] = 2.0
    consolidate_after_seconds: _Seconds = 0.0
    cool_down_seconds: _Seconds = 600.0
    budgets: tuple[Budget, ...] = (Budget(),)
    moves_at_once: _Pods = "4%"
    replace: bool = True
    capacity_types: tuple[str, ...] = ()
    start_seconds: _Positive = 900.0
    timeout_seconds: _Positive = 3600.0

    def __post_init__(self) -> None:
        """Raises FieldError for a goal without its target."""
        if self.goal == "FewestEvictions" and self.target_money_per_hour is None:
            raise FieldError("targetMoneyPerHour", "", "US dollars per hour, for the goal FewestEvictions")

    def at_once(self, pods: int) -> int:
        """How many of so many pods may be on their way at once."""
        number = _part(self.moves_at_once, pods)
        return max(number, _LEAST_AT_ONCE) if self.moves_at_once.endswith("%") else number

    def allowed(self, reason: ReasonName, nodes: int, now: float) -> int:
        """How many of so many nodes may be on their way out now; as many as there are where no budget holds."""
        holding = (each for each in self.budgets if (not each.reasons or reason in each.reasons) and each.holds(now))
        return min((each.allowed(nodes) for each in holding), default=nodes)


def _part(text: str, whole: int) -> int:
    """A number as it is, a percentage of the whole, rounded up."""
    number = int(text.removesuffix("%"))
    return -(-number * whole // 100) if text.endswith("%") else number
