"""Services and jobs for simulations, drawn from real ones.

`services` gives online workloads: sizes of the openb trace's latency-sensitive pods, replicas as in the dlrm trace, use over time
after real series. `jobs` gives offline work: sizes, run times, times of day and parallelism of the openb trace's best-effort and
burstable pods. Both are pure functions of their arguments: the same seed gives the same work.
"""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from neaptide.model.columns import Floats
from neaptide.simulator.curves import Curve, Real
from neaptide.simulator.traces.openb import Openb
from neaptide.simulator.traces.packaged import cpu_series
from neaptide.simulator.traces.series import DAY, WEEK

ONLINE = ("LS", "Guaranteed")
OFFLINE = ("BE", "Burstable")

# Packaged series, and how many services in a hundred follow each (the shares are ours).
CURVES = (("nyc_taxi", 70), ("cpu_utilization_asg_misconfiguration", 20), ("ec2_cpu_utilization_fe7f93", 10))

# Instances of one service in one role that live at one time in the dlrm trace: log-normal, quartiles 3, 8 and 35.
_REPLICAS_LOG_MEAN, _REPLICAS_LOG_DEVIATION = 2.26, 1.47
_PEAK = (0.5, 0.9)  # ours: the 99th percentile of use is this much of the request, the rest is headroom
_PHASE_DEVIATION = 3600.0  # ours: the days of services begin about an hour apart
_SLOT = 300.0  # seconds between samples of most series
_NOISE = 0.06  # neighbouring 5-minute samples of NAB's CPU series differ by 5 to 7 % in four of six
_MEMORY = (0.28, 0.69)  # quartiles of the mean memory utilisation of the genai trace's containers
_SAME_JOB = 60.0  # seconds: pods of one request that were created within so long of one another count as one job
_HALF_HOUR = 1800.0


class ServiceTemplate(msgspec.Struct, frozen=True):
    """An online workload.

    Attributes:
        name: unique in its list.
        replicas: how many pods it has.
        cpu_milli, memory_bytes: what each pod requests.
        gpus, gpu_milli: devices that each pod requests, and thousandths of each of them.
        cpu: use of each pod over time, as a fraction of its request; may pass 1 on the busiest days.
        memory: use of each pod as a fraction of its request.
    """

    name: str
    replicas: int
    cpu_milli: int
    memory_bytes: int
    gpus: int
    gpu_milli: int
    cpu: Curve
    memory: float


class JobTemplate(msgspec.Struct, frozen=True, gc=False):
    """Offline work: `parallelism` pods that run for `duration` seconds each.

    Attributes:
        name: unique in its list.
        arrival: seconds from the start.
        cpu_milli, memory_bytes, gpus, gpu_milli: what each pod requests, as for services.
        duration: seconds, the median of the real job's pods.
        qos: BE or Burstable, as in the openb trace.
        parallelism: pods.
    """

    name: str
    arrival: float
    cpu_milli: int
    memory_bytes: int
    gpus: int
    gpu_milli: int
    duration: float
    qos: str
    parallelism: int


class Noisy(msgspec.Struct, frozen=True):
    """A curve times a factor that is drawn anew every `step` seconds, evenly, with a standard deviation of `deviation`."""

    curve: Curve
    deviation: float
    seed: int
    step: float = _SLOT

    def usage(self, times: Floats) -> Floats:
        slots = np.floor(np.asarray(times, np.float64) / self.step).astype(np.int64).astype(np.uint64)
        even = _hash(slots + _hash(np.array([self.seed], np.uint64))) / 2.0**64
        factor: Floats = 1 + self.deviation * np.sqrt(12) * (even - 0.5)
        return self.curve.usage(times) * np.maximum(factor, 0)


def services(
    seed: int,
    count: int,
    trace: Openb,
    *,
    gpu: bool = False,
    most_replicas: int = 40,
    curves: Sequence[tuple[str, int]] = CURVES,
) -> list[ServiceTemplate]:
    """Draw online workloads; asking for more of them leaves the first ones as they are.

    Args:
        seed: of all that is drawn.
        count: how many.
        trace: whose online pods the sizes are drawn from, each pod alike.
        gpu: whether pods with GPUs are among them.
        most_replicas: where the distribution of replicas is cut off.
        curves: which packaged series they follow, and how many services each, relative to the others. A service follows
            its series from any of its weeks on, at the same hour of the same weekday, give or take an hour.

    Raises:
        ValueError: the trace has no such pod, or a curve is not packaged.
    """
    candidates = _candidates(trace, ONLINE, gpu=gpu)
    if unknown := [name for name, _ in curves if name not in cpu_series()]:
        raise ValueError(f"no series {', '.join(unknown)} is packaged; accepted: {', '.join(cpu_series())}")
    shares = np.array([share for _, share in curves]) / sum(share for _, share in curves)
    drawn = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        replicas = round(rng.lognormal(_REPLICAS_LOG_MEAN, _REPLICAS_LOG_DEVIATION))
        drawn.append(
            ServiceTemplate(
                name=f"service-{index:03d}",
                replicas=min(max(replicas, 1), most_replicas),
                **_size(trace, rng.choice(candidates)),
                cpu=_follow(curves[rng.choice(len(curves), p=shares)][0], rng),
                memory=float(rng.uniform(*_MEMORY)),
            )
        )
    return drawn


def jobs(seed: int, count: int, trace: Openb, *, days: int = 1, gpu: bool = False) -> list[JobTemplate]:
    """Draw offline work, in order of arrival.

    Each is a real job, with its size, run time and parallelism, on any of the days, within half an hour of its real time
    of day. That is counted from the start of the trace; which hour this was is not published.

    Args:
        seed: of all that is drawn.
        count: how many jobs.
        trace: whose offline jobs they are drawn from, each job alike; pods that never ran have no run time and are not.
        days: how many days they arrive on.
        gpu: whether jobs with GPUs are among them.

    Raises:
        ValueError: the trace has no such job.
    """
    real = _real_jobs(trace, _candidates(trace, OFFLINE, gpu=gpu))
    rng = np.random.default_rng(seed)
    which = rng.integers(len(real), size=count)
    first = np.array([trace.created[real[at][0]] for at in which])
    arrivals = (first + rng.uniform(-_HALF_HOUR, _HALF_HOUR, count)) % DAY + DAY * rng.integers(days, size=count)
    drawn = []
    for index, at in enumerate(np.argsort(arrivals, kind="stable")):
        pods = real[which[at]]
        drawn.append(
            JobTemplate(
                name=f"job-{index:05d}",
                arrival=float(arrivals[at]),
                **_size(trace, pods[0]),
                duration=float(np.median(trace.deleted[pods] - trace.scheduled[pods])),
                qos=trace.qos[pods[0]],
                parallelism=len(pods),
            )
        )
    return drawn


def _candidates(trace: Openb, classes: Sequence[str], *, gpu: bool) -> NDArray[np.intp]:
    """The pods of these classes whose whole life is known."""
    known = ~np.isnan(trace.created + trace.scheduled + trace.deleted)
    found = np.flatnonzero(known & np.isin(trace.qos, classes) & (gpu | (trace.pods.num_gpu == 0)))
    if not len(found):
        kind = " or ".join(classes) + ("" if gpu else " without GPUs")
        raise ValueError(f"of {len(trace.qos)} pods none is {kind} and ran; accepted: a workload with such pods")
    return found


def _size(trace: Openb, pod: int) -> dict[str, int]:
    return {
        "cpu_milli": int(trace.pods.cpu[pod]),
        "memory_bytes": int(trace.pods.memory[pod]),
        "gpus": int(trace.pods.num_gpu[pod]),
        "gpu_milli": int(trace.pods.gpu_milli[pod]),
    }


def _follow(name: str, rng: np.random.Generator) -> Curve:
    series = cpu_series()[name]
    week = rng.integers((series.times[-1] + series.step - series.times[0]) // WEEK)
    highest = series.values.max() / np.quantile(series.values, 0.99)
    curve = Real(
        name,
        peak=float(rng.uniform(*_PEAK) * highest),
        shift=float(week * WEEK + rng.normal(0, _PHASE_DEVIATION)),
        unit=WEEK,
    )
    # The line between samples that lie further apart lacks what happens between them.
    return Noisy(curve, _NOISE, int(rng.integers(2**32))) if series.step > _SLOT else curve


def _real_jobs(trace: Openb, candidates: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The pods of each job: neighbours in time among the pods of one class and request."""
    alike: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for pod in candidates[np.argsort(trace.created[candidates], kind="stable")].tolist():
        alike[(trace.qos[pod], trace.pods.gpu_spec[pod], *_size(trace, pod).values())].append(pod)
    return [
        pods
        for some in alike.values()
        for pods in np.split(np.array(some), np.flatnonzero(np.diff(trace.created[some]) > _SAME_JOB) + 1)
    ]


def _hash(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Whole numbers without pattern: splitmix64's finalizer (Steele, Lea, Flood: Fast splittable pseudorandom number generators)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
