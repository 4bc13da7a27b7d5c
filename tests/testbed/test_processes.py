"""Processes that are started, frozen, ended, and never mistaken for another."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.kube.live import eventually

from neaptide.testbed import processes

SHELL = "/bin/sh"
DEAF = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def sleeper(log: Path) -> Iterator[processes.Process]:
    found = processes.start([SHELL, "-c", "exec sleep 60"], log=log, environment=dict(os.environ))
    yield found
    processes.kill(found)


def test_a_process_runs_until_it_is_killed(sleeper: processes.Process) -> None:
    assert processes.state(sleeper) == "running"
    assert processes.resident_bytes(sleeper) > 0
    processes.kill(sleeper)
    assert processes.state(sleeper) == "ended"
    assert processes.resident_bytes(sleeper) == 0


def test_a_frozen_process_ends_when_it_is_stopped(sleeper: processes.Process) -> None:
    processes.freeze(sleeper)
    assert processes.state(sleeper) == "frozen"
    processes.stop([sleeper], grace=10.0)
    assert processes.state(sleeper) == "ended"


def test_a_thawed_process_runs_again(sleeper: processes.Process) -> None:
    processes.freeze(sleeper)
    processes.thaw(sleeper)
    assert processes.state(sleeper) == "running"


def test_one_that_does_not_hear_is_killed_after_the_grace(log: Path) -> None:
    deaf = processes.start([SHELL, "-c", DEAF], log=log, environment=dict(os.environ))
    eventually(lambda: log.exists() and "deaf" in log.read_text())
    processes.stop([deaf], grace=0.1)
    assert processes.state(deaf) == "ended"


def test_a_process_that_began_at_another_time_is_not_the_one_meant(sleeper: processes.Process) -> None:
    earlier = msgspec.structs.replace(sleeper, began=sleeper.began - 1)
    assert processes.state(earlier) == "ended"
    processes.kill(earlier)
    processes.stop([earlier], grace=1.0)
    assert processes.state(sleeper) == "running"


def test_what_a_process_prints_goes_to_its_log_which_only_the_owner_reads(log: Path) -> None:
    for word in ("one", "two"):
        _said_twice(word, log)
    assert log.read_text().split() == ["one", "one", "two", "two"]
    assert log.stat().st_mode & 0o777 == 0o600


def _said_twice(word: str, log: Path) -> None:
    found = processes.start([SHELL, "-c", f"echo {word}; echo {word} >&2"], log=log, environment={})
    eventually(lambda: processes.state(found) == "ended")
