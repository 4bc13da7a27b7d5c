"""Settings of the policy `time-windows`. A spec in hand is one that can be used: what cannot raises when it is made."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from neaptide.model.problems import FieldError
from neaptide.policies.window_schedule import Window, WindowSpec, parse_window

BandName = Literal["free", "batch", "mid", "prod"]
KindName = Literal["Job", "Deployment", "StatefulSet"]

_Fraction = Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1")]
_Margin = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
_Seconds = Annotated[float, Meta(ge=0, le=10**9, description="seconds from 0 to 1000000000")]
_Positive = Annotated[float, Meta(gt=0, le=10**9, description="seconds above 0, at most 1000000000")]
_Count = Annotated[int, Meta(ge=1, le=10**6, description="an integer from 1 to 1000000")]


class Selector(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which workloads a rule is about; all that is said must hold.

    `labels` are those of the workload or of its pods. Where neither `namespaces` nor `labels` nor `bands` is said, it is
    offline work: band batch or free, or the label of QoS class BE.
    """

    kinds: tuple[KindName, ...] = ("Job",)
    namespaces: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    bands: tuple[BandName, ...] = ()


class Valley(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When the load leaves room: below `watermark` for `minimum_seconds`, until it is above watermark + hysteresis.

    The load is what all but offline pods use, over the allocatable of the nodes that are ready.
    """

    watermark: _Fraction = 0.5
    hysteresis: _Margin = 0.05
    minimum_seconds: _Seconds = 600.0
    resource: Literal["cpu", "memory"] = "cpu"
    metric_age_seconds: _Positive = 900.0


class Rule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When some workloads may run: in any of the windows, or in the valley.

    Attributes:
        name: how reasons call it; unique. By default its position.
        grace_seconds: how long what runs may go on after closing.
        margin_seconds: nothing is resumed so shortly before windows close.
        deadline_seconds: what has waited so long runs anyway; None for never.
        aging_seconds_per_point: so long a wait is worth a point of priority.
        max_per_cycle: how many workloads are resumed, and how many suspended, at once.
    """

    name: str = ""
    selector: Selector = Selector()
    windows: tuple[WindowSpec, ...] = ()
    valley: Valley | None = None
    grace_seconds: _Seconds = 300.0
    margin_seconds: _Seconds = 300.0
    deadline_seconds: _Positive | None = 86_400.0
    aging_seconds_per_point: _Positive = 10.0
    max_per_cycle: _Count = 50

    def __post_init__(self) -> None:
        """Raises FieldError for windows that cannot be, or where there is neither a window nor a valley."""
        if not self.windows and self.valley is None:
            raise FieldError("windows", "", "at least one window, or a valley")
        self.parsed()

    def parsed(self) -> tuple[Window, ...]:
        """The windows, checked."""
        return tuple(parse_window(each, where=f"windows[{index}].") for index, each in enumerate(self.windows))


class TimeWindowsSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Of several rules that select a workload, the first one counts."""

    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        """Raises FieldError where two rules have one name."""
        names = self.names()
        for index, name in enumerate(names):
            if name in names[:index]:
                raise FieldError(f"rules[{index}].name", name, "a name that no other rule has")

    def names(self) -> tuple[str, ...]:
        """What the rules are called."""
        return tuple(rule.name or f"rules[{index}]" for index, rule in enumerate(self.rules))
