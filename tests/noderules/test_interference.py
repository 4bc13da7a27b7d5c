"""Who suffers, who is to blame, and what is done about it step by step; planted culprits in benchmarks/interference.py."""

from collections.abc import Sequence
from math import inf

import pytest
from benchmarks.interference import scene
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.anomaly import Anomaly, AnomalySettings, Baseline, judged, threshold_of
from neaptide.noderules.culprits import correlation, ranked, score
from neaptide.noderules.interference import Case, InterferenceSettings, Seen, Step, decide, most_telling
from neaptide.noderules.slo_share import Share, SloSettings, next_share, share_in_use

QUIET = AnomalySettings()
SETTINGS = InterferenceSettings(patience_seconds=30, calm_seconds=60)
SIGNAL = [1.0, 5.0, 1.0, 5.0, 5.0, 1.0]
WITH_IT, AGAINST_IT, ALWAYS = [0.0, 9, 0, 9, 9, 0], [9.0, 0, 9, 0, 0, 9], [5.0] * 6


def learnt(value: float, times: int = 50) -> Baseline:
    baseline = Baseline()
    for _ in range(times):
        _, baseline = judged(value, baseline, QUIET)
    return baseline


def test_nothing_is_out_of_the_ordinary_before_there_is_a_past() -> None:
    assert threshold_of(learnt(1.0, QUIET.samples - 1), 0.0, QUIET) == inf
    assert judged(100.0, learnt(1.0, 5), QUIET)[0] is None


@pytest.mark.parametrize(
    ("value", "twins", "suffers"),
    [(1.2, 0.0, False), (1.4, 0.0, True), (9.0, 8.2, False), (9.0, 1.1, True)],
    ids=["a little more", "more", "its twins too", "its twins not"],
)
def test_a_pod_suffers_where_it_is_unlike_its_past_and_its_twins(value: float, twins: float, *, suffers: bool) -> None:
    found, _ = judged(value, learnt(1.0), QUIET, twins)
    assert (found is not None) is suffers


def test_a_long_disturbance_does_not_become_the_norm_at_once() -> None:
    baseline, suffered = learnt(1.0), 0
    for _ in range(30):
        found, baseline = judged(10.0, baseline, QUIET)
        suffered += found is not None
    assert suffered == 30


def test_below_the_floor_nobody_suffers() -> None:
    assert judged(5.0, learnt(0.1), QUIET._replace(floor=10.0))[0] is None


def test_the_score_is_cpi2s() -> None:
    assert score([4.0, 1.0], 2.0, [3.0, 1.0]) == pytest.approx(3 / 4 * 0.5 - 1 / 4 * 0.5)
    assert score([4.0, 1.0], 2.0, [0.0, 0.0]) == 0.0
    assert score([4.0], 0.0, [1.0]) == 0.0


def test_who_goes_up_and_down_with_the_victim_is_blamed_and_who_always_runs_is_not() -> None:
    found = ranked(SIGNAL, 2.0, {"with": WITH_IT, "against": AGAINST_IT, "always": ALWAYS})
    assert [each.pod for each in found] == ["with"]
    assert found[0].confidence > 0.8


series = st.lists(st.floats(0, 1000), min_size=3, max_size=20)


@given(
    st.integers(3, 20).flatmap(lambda n: st.tuples(*[st.lists(st.floats(0.1, 1000), min_size=n, max_size=n)] * 2)),
    st.floats(0.1, 1000),
)
def test_scores_and_confidences_are_within_their_bounds(
    pair: tuple[list[float], list[float]], threshold: float
) -> None:
    signal, used = pair
    assert -1 - 1e-9 <= score(signal, threshold, used) <= 1 + 1e-9
    assert -1 - 1e-6 <= correlation(signal, used) <= 1 + 1e-6
    assert all(0 < each.confidence <= 1 + 1e-6 for each in ranked(signal, threshold, {"a": used}))


def seen(*, suffers: bool, culprit: bool = True, resource: str = "cpu") -> dict[str, Seen]:
    suspects = {"job": WITH_IT if culprit else ALWAYS}
    return {"web": Seen("CPU pressure", SIGNAL, Anomaly(5.0, 2.0) if suffers else None, suspects, resource)}


def steps(
    moments: list[tuple[float, bool]], *, culprit: bool = True, resources: Sequence[str] = ("cpu",)
) -> list[tuple[float, Step]]:
    """When which step was in force from, as a victim suffers or not at some moments; the last resource stays."""
    cases: dict[str, Case] = {}
    found = []
    for number, (now, suffers) in enumerate(moments):
        resource = resources[min(number, len(resources) - 1)]
        cases, changes = decide(SETTINGS, cases, seen(suffers=suffers, culprit=culprit, resource=resource), now)
        found += [(now, each.case.step) for each in changes]
    return found


@pytest.mark.parametrize(
    ("resource", "taken"),
    [
        ("cpu", [Step.SUPPRESS, Step.EVICT, Step.MOVE]),
        ("io", [Step.THROTTLE_DISK, Step.EVICT, Step.MOVE]),
        ("memory", [Step.EVICT, Step.MOVE]),
    ],
)
def test_steps_are_taken_one_after_the_other_while_the_victim_suffers_by_what_it_waits_for(
    resource: str, taken: list[Step]
) -> None:
    found = steps([(float(now), True) for now in range(0, 161, 10)], resources=[resource])
    assert found == [(30.0 * (number + 1), step) for number, step in enumerate(taken)]


def test_no_step_is_taken_beyond_the_last_that_the_settings_allow() -> None:
    cases: dict[str, Case] = {}
    for now in (0.0, 30.0, 60.0):
        cases, _ = decide(SETTINGS._replace(last=Step.SUPPRESS), cases, seen(suffers=True), now)
    assert cases["web"].taken == (Step.SUPPRESS, Step.MOVE)


def test_of_several_signals_the_one_counts_whose_culprit_is_the_surest() -> None:
    calm, loud = seen(suffers=False)["web"], seen(suffers=True, resource="io")["web"]
    nobody = seen(suffers=True, culprit=False, resource="memory")["web"]
    assert most_telling(SETTINGS, [calm, nobody, loud]) is loud
    assert most_telling(SETTINGS, [calm, nobody]) is nobody
    assert most_telling(SETTINGS, [calm]) is calm
    assert most_telling(SETTINGS, []) is None


def test_where_nobody_is_to_blame_the_victim_moves() -> None:
    assert steps([(float(now), True) for now in range(0, 61, 10)], culprit=False) == [(30.0, Step.MOVE)]


def test_steps_are_taken_back_one_by_one_once_it_has_been_calm_for_long() -> None:
    loud = [(float(now), True) for now in range(0, 61, 10)]
    calm = [(float(now), False) for now in range(70, 300, 10)]
    found = steps([*loud, *calm], resources=["cpu"] * 4 + ["io"])
    assert found[:2] == [(30.0, Step.SUPPRESS), (60.0, Step.THROTTLE_DISK)]
    assert found[2:] == [(130.0, Step.SUPPRESS), (190.0, Step.NOTHING)]


def test_a_moment_of_calm_changes_nothing() -> None:
    flapping = [(float(now), now % 20 == 0) for now in range(0, 61, 10)]
    assert [
        step for _, step in steps([(float(now), True) for now in range(0, 31, 10)] + [(40.0, False), (50.0, True)])
    ] == [Step.SUPPRESS]
    assert len(steps(flapping)) <= 1


def test_a_victim_that_is_gone_frees_its_culprit() -> None:
    cases, _ = decide(SETTINGS, {}, seen(suffers=True), 0.0)
    cases, _ = decide(SETTINGS, cases, seen(suffers=True), 30.0)
    after, changes = decide(SETTINGS, cases, {}, 31.0)
    assert after == {}
    assert [(each.victim, each.case.step, each.case.culprit) for each in changes] == [("web", Step.NOTHING, "job")]


def test_the_evidence_names_signal_threshold_culprit_and_confidence() -> None:
    cases, _ = decide(SETTINGS, {}, seen(suffers=True), 0.0)
    cases, _ = decide(SETTINGS, cases, seen(suffers=True), 30.0)
    assert cases["web"].evidence.startswith(
        "CPU pressure 5, above 2; the CPU of job goes up and down with it (confidence "
    )


def test_planted_culprits_are_found_and_the_innocent_left_alone() -> None:
    found = [scene(seed) for seed in range(150)]
    blamed = [each for each in found if each.blamed]
    right = [each for each in blamed if each.blamed == each.planted]
    assert len(right) >= 0.95 * len(blamed)
    assert len(right) >= 0.75 * sum(bool(each.planted) for each in found)


@pytest.mark.parametrize(
    ("latency", "now", "expected"),
    [
        (200.0, 1.0, 0.5 - 0.5 * 0.6931),
        (100.0, 99.0, 0.5),
        (90.0, 99.0, 0.5),
        (50.0, 99.0, 0.52),
        (50.0, 10.0, 0.5),
        (0.0, 99.0, 0.5),
    ],
    ids=["twice too slow", "just so", "hardly faster", "twice as fast", "too soon to grow", "no latency"],
)
def test_a_share_follows_the_logarithm_of_the_error(latency: float, now: float, expected: float) -> None:
    assert next_share(SloSettings(), Share(0.5, 0.0), latency, 100.0, now).part == pytest.approx(expected, abs=1e-3)


def test_a_share_shrinks_from_what_is_used_of_it_and_not_where_nothing_is() -> None:
    assert share_in_use(Share(0.5, 7.0), 0.2) == Share(0.2, 7.0)
    assert share_in_use(Share(0.5, 7.0), 0.9) == Share(0.5, 7.0)
    assert share_in_use(Share(0.5, 7.0), 0.001) is None


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_share_stays_within_its_bounds_and_shrinks_faster_than_it_grows(latencies: list[float]) -> None:
    share, settings = Share(0.5, 0.0), SloSettings(least=0.1, most=0.9)
    for at, latency in enumerate(latencies):
        after = next_share(settings, share, latency, 100.0, at * 30.0)
        assert 0.1 <= after.part <= 0.9
        assert after.part - share.part <= settings.most_grow + 1e-9
        share = after


def test_a_service_that_slows_with_offline_work_is_held_at_its_objective() -> None:
    share = Share(0.9, 0.0)
    for at in range(400):
        share = next_share(SloSettings(), share, 60.0 + 100.0 * share.part, 100.0, at * 10.0)
    assert 60.0 + 100.0 * share.part <= 101.0
    assert share.part > 0.15
