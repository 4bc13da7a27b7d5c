"""Settings of the policy `protected`. A spec in hand is one that can be used: what cannot raises when it is made."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from neaptide.model.problems import FieldError
from neaptide.policies.checkpoint import CheckpointSpec

_Seconds = Annotated[float, Meta(ge=0, le=10**9, description="seconds from 0 to 1000000000")]
_Percentage = Annotated[float, Meta(ge=0, le=100, description="a number from 0 to 100")]
_Count = Annotated[int, Meta(ge=0, le=10**6, description="an integer from 0 to 1000000")]


class Grace(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """After how long a node goes although protected work remains on it. Nothing is forced unless `termination_seconds` is set.

    Attributes:
        termination_seconds: from the moment that a node stops filling; None waits for ever.
        pools: the same by node pool (`karpenter.sh/nodepool`), in its place.
        ask_seconds: so long before, pods are asked to end: they get SIGTERM, and that much time.
        ignore_budgets: whether PodDisruptionBudgets hold no longer then.
        checkpoint: what is run in them before that.
    """

    termination_seconds: _Seconds | None = None
    pools: dict[str, _Seconds] = {}
    ask_seconds: _Seconds = 120.0
    ignore_budgets: bool = False
    checkpoint: CheckpointSpec = CheckpointSpec()

    def of(self, pool: str) -> float | None:
        """The seconds of a pool."""
        return self.pools.get(pool, self.termination_seconds)


class ProtectedSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When a node with protected pods stops taking others.

    Attributes:
        effect: of the taint: NoSchedule keeps other pods off, PreferNoSchedule only where there is room elsewhere.
        cordon: whether such nodes are cordoned, too.
        release: whether a node is emptied and given back once its last protected pod has ended and its other pods have room elsewhere.
        unknown_seconds: how long a pod is expected to hold its node that has only just begun, and of which nothing is known.
        window_seconds: how far back arrivals of protected pods are counted.
        margin: filling must cost so many times what stopping costs before it is stopped, and the other way round before it is taken back.
        minimum_seconds: how long a node stays as it is decided.
        keep_filling_percent: at least this share of the room of nodes with protected pods, those that are held longest, never stops filling.
        stopping_at_once: how many nodes may stop filling in a cycle.
        releasing_at_once: how many nodes may be emptied at once.
        grace: when work is ended all the same.
    """

    effect: Literal["NoSchedule", "PreferNoSchedule"] = "NoSchedule"
    cordon: bool = False
    release: bool = True
    unknown_seconds: _Seconds = 600.0
    window_seconds: Annotated[float, Meta(ge=60, le=10**7, description="seconds from 60 to 10000000")] = 3600.0
    margin: Annotated[float, Meta(ge=1, le=10, description="a number from 1 to 10")] = 1.25
    minimum_seconds: _Seconds = 600.0
    keep_filling_percent: _Percentage = 20.0
    stopping_at_once: _Count = 10
    releasing_at_once: _Count = 5
    grace: Grace = Grace()

    def __post_init__(self) -> None:
        """Raises FieldError where pods would be asked before there is anything to ask for."""
        shortest = min(
            (each for each in (self.grace.termination_seconds, *self.grace.pools.values()) if each is not None),
            default=None,
        )
        if shortest is not None and self.grace.ask_seconds > shortest:
            raise FieldError("grace.askSeconds", self.grace.ask_seconds, f"at most the shortest grace, {shortest:g} s")
