"""One limit for several groups, by what they need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.by_need import ByNeed

EVERY = 5.0


def after(limit: float, weights: dict[str, int], used: dict[str, float], rounds: int = 20) -> dict[str, float]:
    """The parts once groups want what `used` says, and use as much of it as they may."""
    needs = ByNeed(EVERY)
    parts = needs.parts(limit, weights, {}, 0.0)
    for now in range(1, rounds + 1):
        parts = needs.parts(
            limit, weights, {group: min(used[group], parts[group] * limit) for group in used}, float(now)
        )
    return parts


def test_all_have_their_even_part_at_first_and_so_has_who_comes_later() -> None:
    needs = ByNeed(EVERY)
    assert needs.parts(1000, {"a": 1, "b": 3}, {}, 0.0) == {"a": 0.25, "b": 0.75}
    assert needs.parts(1000, {"a": 1, "b": 3, "c": 4}, {}, 0.5) == {"a": 0.125, "b": 0.375, "c": 0.5}
    assert needs.parts(1000, {"a": 1, "c": 4}, {}, 1.0) == pytest.approx({"a": 0.2, "c": 0.8})
    assert needs.parts(1000, {}, {}, 1.5) == {}


def test_a_group_without_weight_has_nothing_and_harms_nobody() -> None:
    needs = ByNeed(EVERY)
    for now in range(0, 60, 3):
        assert needs.parts(1000, {"a": 1, "none": 0}, {"a": 10.0}, float(now)) == {"a": 1.0, "none": 0.0}
    assert needs.parts(1000, {"none": 0}, {}, 99.0) == {"none": 0.0}


def test_pods_that_come_and_go_in_a_group_leave_parts_as_they_are() -> None:
    needs = ByNeed(EVERY)
    for now in range(60):
        parts = needs.parts(1000, {"tier": 3 + now % 3, "alone": 1}, {"alone": 900.0}, float(now))
    assert parts["alone"] > 0.9


def test_parts_stay_under_an_uneven_but_steady_load() -> None:
    needs, seen = ByNeed(EVERY), set()
    parts = {"a": 0.5, "b": 0.5}
    for now in range(300):
        used = {"a": min(9999.0, 1000 * parts["a"]), "b": min(100.0 + 40 * (now * 7 % 10) / 10, 1000 * parts["b"])}
        parts = needs.parts(1000, {"a": 1, "b": 1}, used, float(now))
        if now > 20:
            seen.add(tuple(parts.values()))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("used", "parts"),
    [
        ({"a": 9999.0, "b": 0.0, "c": 0.0, "d": 0.0}, {"a": 0.925, "b": 0.025, "c": 0.025, "d": 0.025}),
        ({"a": 9999.0, "b": 9999.0, "c": 9999.0, "d": 9999.0}, {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}),
        ({"a": 9999.0, "b": 9999.0, "c": 80.0, "d": 0.0}, {"a": 0.4075, "b": 0.4075, "c": 0.16, "d": 0.025}),
        ({"a": 100.0, "b": 0.0, "c": 0.0, "d": 0.0}, dict.fromkeys("abcd", 0.25)),
    ],
    ids=["one is busy", "all are", "two are, one a little", "nobody is"],
)
def test_who_uses_what_it_has_gets_what_others_leave(used: dict[str, float], parts: dict[str, float]) -> None:
    assert after(1000, dict.fromkeys("abcd", 1), used) == pytest.approx(parts)


def test_who_begins_to_work_has_its_part_after_two_looks() -> None:
    needs, weights = ByNeed(EVERY), {"a": 1, "b": 1}
    parts: dict[str, float] = {}
    for now in range(60):
        wanted = {"a": 9999.0, "b": 0.0 if now < 30 else 9999.0}
        parts = needs.parts(
            1000, weights, {group: min(wanted[group], 1000 * parts.get(group, 0.0)) for group in weights}, float(now)
        )
        if now == 29:
            assert parts == pytest.approx({"a": 0.95, "b": 0.05})
        if now == 40:
            break
    assert parts == pytest.approx({"a": 0.5, "b": 0.5})


def test_parts_stay_between_two_looks() -> None:
    needs, weights = ByNeed(EVERY), {"a": 1, "b": 1}
    needs.parts(1000, weights, {}, 0.0)
    assert {tuple(needs.parts(1000, weights, {"a": 500.0}, now).values()) for now in (1.0, 2.0, 4.9)} == {(0.5, 0.5)}
    assert needs.parts(1000, weights, {}, 5.0)["a"] > 0.9


uses = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 5000), min_size=1)


@given(uses, st.integers(1, 9), st.floats(20, 4000))
def test_all_is_given_out_and_nobody_has_less_than_a_tenth_of_its_even_part(
    used: dict[str, float], heaviest: int, limit: float
) -> None:
    weights = {group: 1 + number % heaviest for number, group in enumerate(used)}
    whole = sum(weights.values())
    parts = after(limit, weights, used)
    assert sum(parts.values()) == pytest.approx(1)
    for group, part in parts.items():
        assert part >= 0.1 * weights[group] / whole - 1e-9
