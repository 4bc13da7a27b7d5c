"""What a pod needs next, whatever there is of it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.virtualnode.providers.containerd.lifecycle import (
    CREATED,
    EXITED,
    RUNNING,
    Next,
    Seen,
    Step,
    attempts,
    backoff,
    next_of,
    shown,
    superseded,
)
from neaptide.virtualnode.states import Ended, Running, Waiting

NOW = 1000.0


def seen(
    name: str, state: str, attempt: int = 0, *, code: int = 0, started: float = 900.0, finished: float = 950.0
) -> Seen:
    ended = finished if state == EXITED else None
    begun = None if state == CREATED else started
    return Seen(f"{name}-{attempt}", name, attempt, state, begun, ended, code)


def spec(policy: str = "Never", containers: str = "a", inits: str = "") -> dict[str, object]:
    return {
        "restartPolicy": policy,
        "containers": [{"name": each} for each in containers],
        "initContainers": [{"name": each} for each in inits],
    }


@pytest.mark.parametrize(
    ("it", "there", "expected"),
    [
        pytest.param(spec(containers="ab"), [], Next((Step("a", 0), Step("b", 0))), id="nothing is there: all begin"),
        pytest.param(spec(inits="ij"), [], Next((Step("i", 0),)), id="the first init container is alone"),
        pytest.param(spec(inits="ij"), [seen("i", RUNNING)], Next(), id="the second one waits for the first"),
        pytest.param(spec(inits="ij"), [seen("i", EXITED)], Next((Step("j", 0),)), id="then it begins"),
        pytest.param(spec(inits="i"), [seen("i", EXITED)], Next((Step("a", 0),)), id="the containers come last"),
        pytest.param(
            spec(inits="i"), [seen("i", EXITED, code=1)], Next(), id="Never: a failed init container is the end"
        ),
        pytest.param(
            spec("Always", inits="i"), [seen("i", EXITED, code=1)], Next((Step("i", 1),)), id="Always: it begins again"
        ),
        pytest.param(
            spec("Always", inits="i"),
            [seen("i", EXITED)],
            Next((Step("a", 0),)),
            id="Always: one that succeeded does not",
        ),
        pytest.param(
            spec(), [seen("a", CREATED)], Next((Step("a", 0, "a-0"),)), id="one that was created is started, not made"
        ),
        pytest.param(spec(), [seen("a", RUNNING)], Next(), id="one that runs is left alone"),
        pytest.param(spec(), [seen("a", EXITED, code=1)], Next(), id="Never means never"),
        pytest.param(spec("OnFailure"), [seen("a", EXITED)], Next(), id="OnFailure: success is the end"),
        pytest.param(
            spec("OnFailure"),
            [seen("a", EXITED, code=1)],
            Next((Step("a", 1),)),
            id="OnFailure: the first time at once",
        ),
        pytest.param(
            spec("Always"),
            [seen("a", EXITED, 1, finished=995)],
            Next(due=1005.0),
            id="the second time after 10 seconds",
        ),
        pytest.param(
            spec("Always"),
            [seen("a", EXITED, 3, finished=NOW)],
            Next(due=1040.0),
            id="the fourth time after 40 seconds",
        ),
        pytest.param(
            spec("Always"),
            [seen("a", EXITED, 9, started=100, finished=NOW)],
            Next((Step("a", 10),)),
            id="who ran for ten minutes begins at once",
        ),
        pytest.param(
            spec("Always"),
            [seen("a", EXITED, 1, finished=9000)],
            Next((Step("a", 2),)),
            id="a clock that was set back does not hold it",
        ),
    ],
)
def test_what_is_next(it: dict[str, object], there: Sequence[Seen], expected: Next) -> None:
    assert next_of(it, attempts(there), NOW) == expected


@given(attempt=st.integers(0, 10_000), ran=st.floats(0, 1e6))
def test_a_back_off_is_never_longer_than_five_minutes(attempt: int, ran: float) -> None:
    assert 0 <= backoff(seen("a", EXITED, attempt, started=0, finished=ran)) <= 300


@pytest.mark.parametrize(
    ("policy", "there", "over", "expected"),
    [
        pytest.param("Never", [], False, Waiting("ContainerCreating"), id="nothing yet"),
        pytest.param("Never", [seen("a", RUNNING)], False, Running(900.0), id="runs"),
        pytest.param("Never", [seen("a", EXITED, code=3)], False, Ended(3, 950.0, 900.0), id="ended"),
        pytest.param(
            "Always",
            [seen("a", EXITED, 2, code=3)],
            False,
            Waiting("CrashLoopBackOff", "back-off 20s restarting failed container=a"),
            id="waits to begin again",
        ),
        pytest.param(
            "Always", [seen("a", EXITED, code=137)], True, Ended(137, 950.0, 900.0, signal=9), id="stopped for good"
        ),
    ],
)
def test_how_a_container_is_shown(policy: str, there: Sequence[Seen], over: bool, expected: object) -> None:
    (found,) = shown([{"name": "a"}], attempts(there), policy=policy, waiting={}, over=over, now=NOW)
    assert found.state == expected


def test_the_last_two_attempts_stay_for_their_logs() -> None:
    there = [seen("a", EXITED, number) for number in range(4)] + [seen("b", RUNNING)]
    assert [each.id for each in superseded(attempts(there))] == ["a-0", "a-1"]
