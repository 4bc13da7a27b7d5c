"""How long runs last, those that still run included."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.forecast.remaining import remaining
from neaptide.forecast.survival import Run, kaplan_meier


def test_the_published_example_of_kaplan_and_meier() -> None:
    """Deaths at 0.8, 3.1, 5.4 and 9.2 months, losses at 1.0, 2.7, 7.0 and 12.1: P(5.4) = 0.525, P(9.2) = 0.2625 (their section 2)."""
    deaths = [Run(each) for each in (0.8, 3.1, 5.4, 9.2)]
    losses = [Run(each, ended=False) for each in (1.0, 2.7, 7.0, 12.1)]
    survival = kaplan_meier([*deaths, *losses])
    assert survival.seconds == (0.8, 3.1, 5.4, 9.2)
    assert survival.lasting == pytest.approx((0.875, 0.7, 0.525, 0.2625))


def test_a_quantile_that_was_never_seen_is_not_known() -> None:
    survival = kaplan_meier([Run(10.0), Run(20.0, ended=False)])
    assert (survival.quantile(0.5), survival.quantile(0.9)) == (10.0, None)


def test_leaving_out_what_still_runs_would_make_jobs_seem_short() -> None:
    ended, running = [Run(60.0)] * 5, [Run(600.0, ended=False)] * 5
    assert kaplan_meier(ended).quantile(0.9) == 60.0
    assert kaplan_meier([*ended, *running]).quantile(0.9) is None


RUNS = st.lists(st.tuples(st.floats(1, 1e6), st.booleans()), min_size=1, max_size=40)


@given(RUNS)
def test_the_share_that_lasts_falls_from_one_and_is_that_of_the_sample_where_all_have_ended(
    runs: list[tuple[float, bool]],
) -> None:
    survival = kaplan_meier([Run(*each) for each in runs])
    assert all(0 <= each <= 1 + 1e-9 for each in survival.lasting)
    assert list(survival.lasting) == sorted(survival.lasting, reverse=True)
    whole = kaplan_meier([Run(seconds) for seconds, _ in runs])
    for at, _ in runs:
        assert whole.beyond(at) == pytest.approx(sum(each > at for each, _ in runs) / len(runs))


@given(RUNS, st.floats(0, 1e6))
def test_what_lasts_for_some_time_is_expected_to_end_later_than_that(
    runs: list[tuple[float, bool]], after: float
) -> None:
    found = remaining(after, [Run(*each) for each in runs])
    assert 0 < found.expected < inf
    assert found.low <= found.expected <= found.high


@pytest.mark.parametrize(
    ("ran", "past", "options", "expected"),
    [
        (100, [], {}, (600.0, "Age")),
        (7200, [], {}, (7200.0, "Age")),
        (100, [300.0, 300.0, 300.0], {}, (200.0, "History")),
        (400, [300.0, 300.0, 300.0], {}, (600.0, "Age")),
        (100, [300.0] * 3, {"stated": 1000.0}, (900.0, "Stated")),
        (100, [], {"deadline": 160.0}, (60.0, "Age")),
        (200, [], {"deadline": 160.0}, (0.0, "Age")),
    ],
    ids=[
        "new",
        "long and unknown",
        "history",
        "longer than ever",
        "says so",
        "ends by a deadline",
        "past its deadline",
    ],
)
def test_how_much_longer(ran: float, past: list[float], options: dict[str, float], expected: tuple[float, str]) -> None:
    found = remaining(ran, [Run(each) for each in past], **options)
    assert (found.expected, found.source) == expected


def test_the_mean_up_to_a_limit_counts_what_is_cut_off_as_the_limit() -> None:
    survival = kaplan_meier([Run(10.0), Run(30.0)])
    assert survival.mean_within(20.0) == pytest.approx(15.0)
    assert survival.mean_within(100.0) == pytest.approx(20.0)
    assert survival.mean_within(100.0, after=10.0) == pytest.approx(20.0)
