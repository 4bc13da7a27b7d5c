"""Fields of policies are set by name, and whatever is wrong is named with what is accepted."""

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct, field

from neaptide.cli.exits import UsageError
from neaptide.cli.settings import settings
from neaptide.loop import Mode
from neaptide.model.actions import Plan
from neaptide.model.problems import FieldError
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies import registry


class Inner(Struct, frozen=True, rename="camel"):
    keep_days: int = 1

    def __post_init__(self) -> None:
        if self.keep_days < 1:
            raise FieldError("keepDays", self.keep_days, "at least a day")


class Spec(Struct, frozen=True, rename="camel"):
    percent: Annotated[int, Meta(ge=0, le=100, description="an integer from 0 to 100")] = 60
    batch_cpu: Annotated[int, Meta(ge=0, description="an integer of at least 0")] | None = field(
        name="batchCPU", default=None
    )
    mode: Literal["usage", "request"] = "usage"
    enabled: bool = False
    name: str = ""
    names: tuple[str, ...] = ()
    inner: Inner = Inner()


class Example:
    """A policy that does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec_type: type[Any] = Spec
        self.memory_type: type[Any] = Inner

    def plan(
        self, snapshot: ClusterSnapshot, spec: Any, memory: Any, now: float, covers: Covers = everything
    ) -> tuple[Plan, Any]:
        del snapshot, spec, now, covers
        return Plan(self.name), memory


POLICIES = (Example("one"), Example("two"))

ACCEPTED: dict[str, tuple[str, str, Any]] = {
    "an integer": ("percent=70", "percent", 70),
    "null": ("batchCPU=null", "batch_cpu", None),
    "a name in camelCase": ("batchCPU=5", "batch_cpu", 5),
    "a name in snake_case": ("batch_cpu=5", "batch_cpu", 5),
    "one of some words": ("mode=request", "mode", "request"),
    "a truth": ("enabled=true", "enabled", True),
    "text that looks like a number": ("name=007", "name", "007"),
    "text that is a number": ("name=7", "name", "7"),
    "text with an equals sign": ("name=a=b", "name", "a=b"),
    "no text": ("name=", "name", ""),
    "a list as JSON": ('names=["a", "b"]', "names", ("a", "b")),
    "a field inside another": ("inner.keepDays=3", "inner", Inner(3)),
    "a struct as JSON": ('inner={"keepDays": 3}', "inner", Inner(3)),
}


@pytest.mark.parametrize(("text", "name", "value"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_field_is_set_by_its_name_with_its_type(text: str, name: str, value: Any) -> None:
    (one, two) = settings(POLICIES, (), [f"one.{text}"])
    assert getattr(one.spec, name) == value
    assert (one.mode, two.spec) == (Mode.RECOMMEND, Spec())


def test_the_last_of_several_values_counts_and_other_fields_stay() -> None:
    (one, _) = settings(POLICIES, (), ["one.percent=1", "one.name=x", "one.percent=2"])
    assert one.spec == Spec(percent=2, name="x")


def test_policies_stand_in_the_order_of_the_registry_whatever_the_order_they_are_asked_for() -> None:
    assert [each.policy.name for each in settings(POLICIES, ["two", "one"], [])] == ["one", "two"]
    assert [each.policy.name for each in settings(POLICIES, ["two"], [])] == ["two"]


REFUSED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a policy that there is not": (("three",), "one.percent=1", r"--policy: 'three' .* accepted: one of one, two"),
    "no assignment": ((), "one.percent", r"--set: 'one\.percent' .* accepted: policy\.field=value"),
    "no field": ((), "percent=1", r"--set: 'percent=1' .* accepted: policy\.field=value"),
    "a field of no policy": ((), "three.percent=1", r"accepted: as the policy before the dot, one of one, two"),
    "a field of a policy left aside": (("two",), "one.percent=1", r"before the dot, one of two"),
    "an unknown field": ((), "one.per=1", r"--set one: 'per' .* one of the fields percent, batchCPU, mode, "),
    "a value out of range": ((), "one.percent=101", r"--set one\.percent: '101' .* an integer from 0 to 100"),
    "a value of another type": ((), "one.percent=high", r"--set one\.percent: 'high' .* an integer from 0 to 100"),
    "an optional value out of range": ((), "one.batchCPU=-1", r"'-1' .* accepted: an integer of at least 0"),
    "a word that is not among some": ((), "one.mode=limit", r"--set one\.mode: 'limit' is not accepted; accepted: "),
    "a field that its struct refuses": (
        (),
        "one.inner.keepDays=0",
        r"inner\.keepDays: keepDays: '0' .* at least a day",
    ),
    "a struct that refuses a field": (
        (),
        'one.inner={"keepDays": 0}',
        r"inner: keepDays: '0' .* accepted: at least a day",
    ),
    "a field inside what has none": ((), "one.percent.x=1", r"--set one\.percent has no field 'x'"),
}


@pytest.mark.parametrize(("names", "text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_set_is_named_with_what_is_accepted(names: tuple[str, ...], text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings(POLICIES, names, [text])


@pytest.mark.parametrize(
    "text",
    [
        "relieve.highThresholds.cpu=30",
        'relieve.highThresholds={"cpu": 50}',
        'elastic-offline.rules=[{"minimum": 5, "maximum": 2}]',
        "consolidation.goal=FewestEvictions",
        "spot-rescheduler.spotNodeLabel=a=b=c",
    ],
)
def test_fields_that_contradict_each_other_are_named_with_what_is_accepted(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--set [a-z-]+\.\w+: [\w.]+: '.*' is not accepted; accepted: ."):
        settings(registry.POLICIES, (), [text])
