"""Machines made of real series: pods with requests that cover their own peak, several on a machine, as a matrix of use."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neaptide.simulator.traces.cpu_usage import load_cpu_usage
from neaptide.simulator.traces.genai import load_genai
from neaptide.simulator.traces.series import Series

Floats = NDArray[np.float64]
PODS_PER_MACHINE = 8
MACHINES = 40


class Machines(NamedTuple):
    """Use in milli-CPU [machines, pods, samples], what each pod requests [machines, pods], seconds from sample to sample."""

    name: str
    used: Floats
    request: Floats
    step: float


def of_cpu_usage(directory: Path, seed: int = 1) -> Machines:
    """CPU utilisation and demand of services, two weeks at five minutes."""
    series = load_cpu_usage(directory).series.values()
    return _machines("cpu_usage", [_sampled(each, 300.0, 4000) for each in series], 300.0, seed)


def of_genai(directory: Path, seed: int = 1) -> Machines:
    """The duty cycle of a serving system's containers, a day at a minute: the nearest that it has to CPU use."""
    containers = load_genai(directory).metrics["pod_gpu_duty_cycle"].values()
    long = [each for each in containers if len(each.times) >= 1200 and each.values.max() > 0]
    return _machines("genai", [_sampled(each, 60.0, 1300) for each in long], 60.0, seed)


def _sampled(series: Series, step: float, samples: int) -> Floats:
    """At a regular step, in parts of its maximum; a gap has the value before it."""
    times = series.times[0] + step * np.arange(samples)
    at = np.clip(np.searchsorted(series.times, times, side="right") - 1, 0, len(series.times) - 1)
    found: Floats = series.values[at] / max(float(series.values.max()), 1e-9)
    return found


def _machines(name: str, series: list[Floats], step: float, seed: int) -> Machines:
    """Pods are series drawn with repeats, each shifted in time and of its own size: half a core to four."""
    random = np.random.default_rng(seed)
    samples = len(series[0])
    used = np.empty((MACHINES, PODS_PER_MACHINE, samples))
    request = np.empty((MACHINES, PODS_PER_MACHINE))
    for machine in range(MACHINES):
        for pod in range(PODS_PER_MACHINE):
            chosen = series[int(random.integers(len(series)))]
            size = float(random.choice([500.0, 1000.0, 2000.0, 4000.0]))
            used[machine, pod] = np.roll(chosen, int(random.integers(samples))) * size
            request[machine, pod] = used[machine, pod].max()
    return Machines(name, used, request, step)
