"""Decisions: all that was decided in a run, each with its reason, and a fair part of them where they are too many."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.report.runs import HOUR, START, ledger, result

from neaptide.loop import Cycle
from neaptide.model.actions import Declined, Outcome, Plan, Reason, Ref, Resume, Suspend
from neaptide.simulator.ledger import Ledger
from neaptide.simulator.report.decisions import Collector, Decision, thin

JOB = Ref("Job", "report", "offline")
CLOSED = Reason("WindowClosed", "its window opens at 21:00")
OPEN = Reason("WindowOpen", "its window is open until 07:00")


def cycle(time: float, *outcomes: Outcome, declined: tuple[Declined, ...] = ()) -> Cycle:
    return Cycle(START + time, "digest", (Plan("time-windows", (), declined),), outcomes)


def collected(*cycles: Cycle, run: Ledger | None = None) -> list[Decision]:
    collector = Collector()
    for each in cycles:
        collector(each)
    return collector.close(result(run or ledger(hours=24)))


def by_policy(found: list[Decision]) -> list[tuple[str, str, str, str]]:
    return [(each.what, each.target, each.result, each.reason) for each in found if each.by == "time-windows"]


def test_what_was_done_has_the_reason_of_the_action_and_what_was_refused_has_both_reasons() -> None:
    suspend = Suspend(policy="time-windows", target=JOB, reason=CLOSED)
    resume = Resume(policy="time-windows", target=JOB, reason=OPEN)
    budget = Reason("Budget", "6 pods of it were disrupted within the hour")
    found = collected(cycle(0, Outcome(suspend, "Refused", budget)), cycle(60, Outcome(resume, "Done", OPEN)))
    assert by_policy(found) == [
        ("Suspend", "Job offline/report", "Refused", f"{budget.message}; wanted because: {CLOSED.message}"),
        ("Resume", "Job offline/report", "Done", OPEN.message),
    ]


def test_what_is_left_alone_is_listed_when_it_is_new_and_again_when_it_comes_back() -> None:
    waits = (Declined(JOB, CLOSED),)
    found = collected(
        cycle(0, declined=waits), cycle(60, declined=waits), cycle(120), cycle(180, declined=waits), cycle(240)
    )
    assert [each.time - START for each in found if each.by == "time-windows"] == [0, 180]


def test_nodes_evict_and_the_autoscaler_buys_and_returns_and_all_is_in_order_of_time() -> None:
    found = collected()
    counts = Counter((each.by, each.what) for each in found)
    run = ledger(hours=24)
    assert counts["node", "Evict"] == len(run.evictions)
    assert counts["autoscaler", "Buy"] == counts["autoscaler", "Return"] == 20
    assert [each.time for each in found] == sorted(each.time for each in found)


def test_nodes_that_were_there_from_the_start_to_the_end_are_no_decision() -> None:
    assert not [each for each in collected() if "web-1" in each.target]


kinds = st.sampled_from([("reclaim", "SetNodeResources"), ("time-windows", "Resume"), ("node", "Evict"), ("x", "y")])


@given(st.lists(kinds, max_size=60), st.integers(1, 40))
def test_of_too_many_decisions_rare_kinds_stay_whole_and_no_more_are_kept_than_wanted(
    drawn: list[tuple[str, str]], most: int
) -> None:
    decisions = [
        Decision(START + HOUR * row, by, what, str(row), "Done", "", "") for row, (by, what) in enumerate(drawn)
    ]
    kept = thin(decisions, most)
    assert len(kept) == min(len(decisions), most)
    assert [each.time for each in kept] == sorted({each.time for each in kept})
    before, after = Counter(drawn), Counter((each.by, each.what) for each in kept)
    for kind, count in before.items():
        assert after[kind] == count or after[kind] >= most // len(before)
