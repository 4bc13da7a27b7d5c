"""Rounds of set-ups, one after the other and then again, so that what changes on the machine meanwhile meets all of them; and load steps."""

import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import msgspec
import numpy as np

from neaptide.model.columns import Floats
from neaptide.testbed.colocation import programs
from neaptide.testbed.colocation.scene import NODE_CPU, Scene, SetUp
from neaptide.testbed.errors import TestbedError

_WARM = 3.0
"""Seconds of each round that do not count: the agent finds its feet."""
_SAMPLE, _WINDOW = 0.02, 1.0
"""Seconds; a window is a whole period of a quota, so that it holds what is used in one and not only when."""
_SETTLED = 1.0
_RECOVERY = 8.0
"""Seconds in which the limit rises from the least to the most, by a tenth of the node a second."""


class Round(NamedTuple):
    """What was measured in one round of a set-up.

    Attributes:
        latencies: ms of each request from when it was due, infinite where nobody answered.
        seconds: how long it took.
        node, service, offline: CPU seconds of the node's CPU, of the service's pod, and of the offline pods that the set-up is about.
        computed: steps of the job that computes.
        written: bytes of the job that writes.
    """

    latencies: Floats
    seconds: float
    node: float
    service: float
    offline: float
    computed: int
    written: int

    @property
    def left_over(self) -> float:
        """CPU seconds that nobody but offline pods wanted."""
        return self.seconds - (self.node - self.offline)


def play(scene: Scene, set_up: SetUp, *, rate: float, seconds: float) -> Round:
    """One round."""
    names = scene.jobs_of(set_up)

    def look() -> tuple[float, ...]:
        done = {name.rpartition("-")[2]: scene.done(name) for name in names}
        steps = done.get("computes", 0), done.get("writes", 0)
        return time.monotonic(), scene.node_seconds(), scene.service_seconds(), scene.job_seconds(set_up), *steps

    with scene.of(set_up), scene.load(rate, _WARM + seconds) as load:
        time.sleep(_WARM)
        before = look()
        time.sleep(seconds)
        after = look()
        printed, _ = load.communicate()
    passed = [now - then for then, now in zip(before, after, strict=True)]
    found = _latencies(load, printed)[int(_WARM * rate) :]
    took, node, service, offline, computed, written = passed
    return Round(found, took, node, service, offline, int(computed), int(written) * programs.WRITTEN)


def interleaved(
    scene: Scene, *, rounds: int, rate: float, seconds: float, tell: Callable[[float], None]
) -> dict[SetUp, list[Round]]:
    """So many rounds of every set-up; each time another one begins. `tell` takes the part that is done, 0 to 1."""
    found: dict[SetUp, list[Round]] = {each: [] for each in SetUp}
    order = list(SetUp)
    for number in range(rounds):
        for place, set_up in enumerate(order[number % len(order) :] + order[: number % len(order)]):
            found[set_up].append(play(scene, set_up, rate=rate, seconds=seconds))
            tell((number + (place + 1) / len(order)) / rounds)
    return found


def reactions(scene: Scene, *, steps: int, rate: float, seed: int = 0) -> list[float]:
    """Seconds from a load step of the service to offline CPU halved, for each of some steps; infinite where it was not within the step."""
    rng = random.Random(seed)  # noqa: S311 - when steps come, not a secret
    found = []
    with scene.of(SetUp.AGENT):
        for _ in range(steps):
            time.sleep(_RECOVERY + rng.random())
            found.append(_reaction(scene, rate))
    return found


def _reaction(scene: Scene, rate: float) -> float:
    """The service begins to be asked; how long until offline pods use half of what they did, or less, over a whole `_WINDOW` that begins then."""
    before = scene.job_seconds(SetUp.AGENT)
    time.sleep(_SETTLED)
    used = (scene.job_seconds(SetUp.AGENT) - before) / _SETTLED
    with scene.load(rate, 2 * _SETTLED + 2) as load:
        began = _first_work(scene)
        samples = [(began, scene.job_seconds(SetUp.AGENT))]
        while load.poll() is None:
            time.sleep(_SAMPLE)
            samples.append((time.monotonic(), scene.job_seconds(SetUp.AGENT)))
    return next((then - began for then, rate_then in _windows(samples) if rate_then <= used / 2), float("inf"))


def _first_work(scene: Scene) -> float:
    """When the service began to work."""
    idle = scene.service_seconds()
    while scene.service_seconds() - idle < 0.002:
        time.sleep(0.002)
    return time.monotonic()


def _windows(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """When each window began, and what was used a second within it."""
    found, first = [], 0
    for at, seconds in samples:
        while at - samples[first][0] > _WINDOW and samples[first + 1][0] <= at - _WINDOW:
            first += 1
        then, before = samples[first]
        if at - then >= _WINDOW:
            found.append((then, (seconds - before) / (at - then)))
    return found


def use_percent(rounds: Sequence[Round]) -> float:
    """How much of the node's CPU was used."""
    return mean(each.node / each.seconds for each in rounds) * 100


def _latencies(load: subprocess.Popen[bytes], printed: bytes) -> Floats:
    if load.returncode:
        raise TestbedError("the generator of load failed; what it said stands above")
    numbers = msgspec.json.decode(printed, type=list[int | None])
    return np.array([np.inf if number is None else number / 1000 for number in numbers])


def machine() -> str:
    """In words: the CPU's model."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, CPU {NODE_CPU} for the node"
    return f"CPU {NODE_CPU} for the node"
