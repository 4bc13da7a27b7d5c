"""A service beside offline jobs on one real node: its p99 and what the jobs get, alone, uncontrolled, by requests and limits, as best effort, and under the agent.

ROUNDS and SECONDS set the size (20 and 30 by default), STEPS how many load steps are answered (20), RATE the requests a second (350, of 1 ms of CPU each).
SUPPRESS=no leaves the agent without its rule of CPU suppression.
It wants root, what real nodes want, and two CPUs that nothing else uses.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.figure import Figure, Peer
from neaptide.testbed.colocation import programs
from neaptide.testbed.colocation.rounds import Round, interleaved, reactions, use_percent
from neaptide.testbed.colocation.scene import RULES, SetUp, staged
from neaptide.testbed.colocation.statistics import Interval, bootstrap, percentile

ROUNDS, STEPS = int(os.environ.get("ROUNDS", "20")), int(os.environ.get("STEPS", "20"))
SECONDS, RATE = float(os.environ.get("SECONDS", "30")), float(os.environ.get("RATE", "350"))
SUPPRESS = os.environ.get("SUPPRESS", "yes") != "no"
WORK, STEP = 0.001, 450.0
"""CPU seconds of a request, and requests a second of a load step."""
_PUBLISHED = Peer("published: Anolis' plug-in at 49 % of CPU", 1.2464)

Rounds = dict[SetUp, list[Round]]


def measure() -> Iterator[Figure]:
    """Latencies in ms; ratios with the ends of their 95 % intervals; shares in percent."""
    work, rules = programs.work_of(WORK), RULES if SUPPRESS else {**RULES, "cpu_suppress": None}
    with TemporaryDirectory() as directory, staged(Path(directory), work=work, rules=rules) as scene:
        rounds = interleaved(scene, rounds=ROUNDS, rate=RATE, seconds=SECONDS, tell=_tell)
        yield from _latencies(rounds)
        yield from _work(rounds)
        times = reactions(scene, steps=STEPS, rate=STEP)
    # The generator of random numbers has no say in how percentiles of a few steps are taken: the larger of two neighbours counts.
    yield Figure("colocation.reaction.p50_seconds", float(np.percentile(times, 50, method="higher")), "s")
    yield Figure("colocation.reaction.p99_seconds", float(np.percentile(times, 99, method="higher")), "s")


def _latencies(rounds: Rounds) -> Iterator[Figure]:
    for set_up, played in rounds.items():
        for percent in (50.0, 99.0):
            value = percentile([each.latencies for each in played], percent)
            yield Figure(f"colocation.{_name(set_up)}.p{percent:g}_ms", value, "ms")
    noise = bootstrap(lambda chosen: _ratio(rounds, SetUp.AGAIN, chosen), ROUNDS)
    yield from _interval("colocation.noise.p99_of_alone", noise, None)
    for set_up in (SetUp.UNCONTROLLED, SetUp.LIMITED, SetUp.BEST_EFFORT, SetUp.AGENT):

        def ratio(chosen: Sequence[int], set_up: SetUp = set_up) -> float:
            return _ratio(rounds, set_up, chosen)

        peer = _PUBLISHED if set_up is SetUp.AGENT else None
        yield from _interval(f"colocation.{_name(set_up)}.p99_of_alone", bootstrap(ratio, ROUNDS), peer)
    removed = bootstrap(lambda chosen: _removed(rounds, chosen), ROUNDS)
    yield from _interval("colocation.agent.excess_removed_percent", removed, None, "%")


def _work(rounds: Rounds) -> Iterator[Figure]:
    for set_up, played in rounds.items():
        seconds = sum(each.seconds for each in played)
        yield Figure(f"colocation.{_name(set_up)}.cpu_percent", use_percent(played), "%")
        if not any(each.offline for each in played):
            continue
        left = sum(each.left_over for each in played)
        share = sum(each.offline for each in played) / left * 100
        yield Figure(f"colocation.{_name(set_up)}.offline_percent_of_left_over", share, "%")
        yield Figure(f"colocation.{_name(set_up)}.offline_computed_a_second", sum(each.computed for each in played) / seconds, "64 KiB hashes/s")  # fmt: skip
        written = sum(each.written for each in played) / seconds / 2**20
        yield Figure(f"colocation.{_name(set_up)}.offline_written_a_second", written, "MiB/s")


def _ratio(rounds: Rounds, set_up: SetUp, chosen: Sequence[int]) -> float:
    """Of p99 to that alone."""
    return _p99(rounds, set_up, chosen) / _p99(rounds, SetUp.ALONE, chosen)


def _removed(rounds: Rounds, chosen: Sequence[int]) -> float:
    """How much of what uncontrolled jobs add to p99 is not there under the agent, in percent."""
    alone, free, kept = (_p99(rounds, each, chosen) for each in (SetUp.ALONE, SetUp.UNCONTROLLED, SetUp.AGENT))
    return (free - kept) / (free - alone) * 100 if free != alone else float("nan")


def _p99(rounds: Rounds, set_up: SetUp, chosen: Sequence[int]) -> float:
    return percentile([rounds[set_up][number].latencies for number in chosen], 99)


def _interval(name: str, interval: Interval, peer: Peer | None, unit: str = "x") -> Iterator[Figure]:
    yield Figure(name, interval.value, unit, peer)
    yield Figure(f"{name}.low", interval.low, unit)
    yield Figure(f"{name}.high", interval.high, unit)


def _name(set_up: SetUp) -> str:
    return set_up.replace(" ", "_")


def _tell(done: float) -> None:
    print(f"rounds: {done:.0%}", file=sys.stderr, flush=True)


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"colocation.": measure}
