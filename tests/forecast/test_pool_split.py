"""Where short and long jobs part, and what the replay of their runs says that nodes cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neaptide.forecast.pool_split import JobRun, expected_seconds, node_seconds, shares, splits


def run(name: str, began: float, seconds: float, *, share: float = 0.5, ended: bool = True, pods: int = 1) -> JobRun:
    return JobRun(name, began, seconds, ended, pods, (share,))


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], 0.0),
        ([run("a", 0, 100), run("b", 0, 100)], 100.0),
        ([run("a", 0, 100), run("b", 0, 100), run("c", 0, 100)], 200.0),
        ([run("a", 0, 100), run("b", 100, 100)], 200.0),
        ([run("a", 0, 100, pods=3)], 200.0),
        ([run("a", 0, 100), run("b", 50, 100, share=0.6)], 200.0),
    ],
    ids=["none", "two share a node", "a third needs another", "one after the other", "several pods", "no room beside"],
)
def test_nodes_are_paid_for_from_their_first_pod_to_their_last(runs: list[JobRun], expected: float) -> None:
    assert node_seconds(runs) == expected


def test_jobs_apart_are_cheaper_where_a_long_one_would_hold_each_node() -> None:
    """A short and a long job come every 100 s: together each pair fills a node, which the long one then holds half empty."""
    runs = [
        run(name, 100.0 * number, seconds, share=0.5)
        for number in range(8)
        for name, seconds in (("short", 100.0), ("long", 1000.0))
    ]
    (found,) = splits(runs, 3600.0)
    assert (found.short, found.long, found.seconds) == (("short",), ("long",), 100.0)
    assert found.together == node_seconds(runs)
    assert found.apart == sum(
        node_seconds([each for each in runs if each.workload == name]) for name in ("short", "long")
    )


def test_workloads_that_take_equally_long_are_not_parted() -> None:
    assert splits([run("a", 0, 100), run("b", 50, 100)], 1.0) == []


def test_what_still_runs_is_expected_to_take_as_long_as_it_has_at_least() -> None:
    runs = [run("a", 0, 10), run("a", 0, 500, ended=False), run("a", 0, 600, ended=False)]
    assert expected_seconds(runs) == {"a": 600.0}


def test_what_no_node_has_fits_none() -> None:
    assert shares({"cpu": 500}, {"cpu": 1000, "memory": 10}, ["cpu", "memory"]) == (0.5, 0.0)
    assert shares({"gpu": 1}, {"cpu": 1000}, ["cpu"]) is None
    assert shares({"cpu": 1001}, {"cpu": 1000}, ["cpu"]) is None


drawn = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 50), st.integers(1, 50), st.sampled_from([0.2, 0.5, 0.9])),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(drawn)
def test_a_replay_costs_between_what_is_used_and_a_node_for_each_pod(rows: list[tuple[str, int, int, float]]) -> None:
    runs = [run(name, began, seconds, share=share) for name, began, seconds, share in rows]
    used = sum(each.seconds * each.share[0] for each in runs)
    assert used - 1e-6 <= node_seconds(runs) <= sum(each.seconds for each in runs) + 1e-6
    for each in splits(runs, 1.0):
        assert {*each.short, *each.long} == {run.workload for run in runs}
        assert not {*each.short} & {*each.long}
        assert each.short
        assert each.long
