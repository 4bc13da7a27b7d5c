"""The demo's scenarios: one day of services and jobs drawn from the packaged real data, set up in three ways.

docs/demo.md says what is the same in all three, what differs, and what is assumed.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from neaptide.loop import Mode
from neaptide.model.objects import Taint, Toleration
from neaptide.model.qos import PRIORITY_CLASS_LABEL
from neaptide.pricing.catalogue import InstancePrice
from neaptide.pricing.load import shipped
from neaptide.simulator import workloads
from neaptide.simulator.autoscaler import SCALE_UP_DELAY
from neaptide.simulator.machines import POOL_LABEL
from neaptide.simulator.scenario import (
    JobSpec,
    OfferingSpec,
    PolicySpec,
    PoolSpec,
    Quantity,
    RulesSpec,
    Scenario,
    TraceServices,
)
from neaptide.simulator.traces.packaged import openb

DAY, HOUR = 86_400.0, 3600.0
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
"""Monday at eight: the night is a whole one, near the end."""
FAMILIES = ("m6i", "c6i", "r6i")
LEAST_CPU, LARGE_CPU = 15_000, 60_000
"""Milli-CPU: smaller nodes hold no pod of this data; services get large ones, in every set-up: they lend more."""
OFFLINE_SHARE = 0.2
"""Jobs together ask for that part of what services ask for, over the day."""
LONG = HOUR / 2
"""Of the jobs that run so long (seconds), every second one runs at night only."""
LOOP_PERIOD = 300.0
PATIENCE = 2
"""How many hours a job waits for reclaimed resources before a node is bought for it."""
CHECKPOINT = 600.0
"""Jobs save their work so often (seconds); what they did since is lost when they are stopped."""
BATCH_PRIORITY = 5500
CPU_PERCENT, MEMORY_PERCENT = 70, 80
"""What services and jobs may fill of a node together; the defaults of 60 and 65 leave more unused."""
ABOVE = 5
"""Percent above these at which nodes hold jobs back, or evict them."""
NIGHT = {"neaptide.io/runs": "at-night"}
OFFLINE_TAINT = Taint(key="neaptide.io/offline", effect="NoSchedule")
LAST_RESORT = Taint(key="neaptide.io/last-resort", effect="PreferNoSchedule")
OFFLINE = Toleration(key=OFFLINE_TAINT.key, operator="Exists")
PACKED = {
    "scores": [
        "TaintToleration",
        {
            "name": "MostAllocated",
            "resources": [
                {"name": "cpu"},
                {"name": "memory"},
                {"name": "kubernetes.io/batch-cpu"},
                {"name": "kubernetes.io/batch-memory"},
            ],
        },
    ]
}
"""Full nodes first, so that others become empty and are given back."""


ASSUMPTIONS = (
    (
        "In all set-ups: the same services and jobs at the same times, the same node types and list prices, an autoscaler that buys the nodes "
        "which are cheapest for the pods that fit nowhere, within seconds, and returns a node after ten minutes without pods, and a scheduler that fills full "
        "nodes first. Services get nodes of 64 vCPU and more. All begin with no nodes."
    ),
    (
        "Services have the requests of the openb trace's online pods, and follow the daily and weekly tides of measured series. "
        "Their number of replicas is constant: no set-up scales them, so at night none needs fewer nodes for them."
    ),
    (
        "Jobs have the requests, run times, parallelism and times of day of the openb trace's offline pods, and save their work every ten minutes. "
        f"Together they ask for {OFFLINE_SHARE * 100:.0f} % of what services ask for."
    ),
    "Where jobs run by requests they never wait for anything but a new node.",
    (
        f"With Neaptide, services and jobs fill nodes up to {CPU_PERCENT} % of their CPU and {MEMORY_PERCENT} % of their memory. A job is bought a node "
        f"of its own only after waiting for {PATIENCE} h, and of the jobs that run for half an hour or more every second one may only run from 21:00 to 07:00."
    ),
    (
        "CPU that services want is theirs at once; jobs get what is left. Contention is counted where a service's pod gets less CPU than it "
        "wants; what jobs do to caches and memory bandwidth is not simulated."
    ),
    "A wait is the time from when a pod was wanted until it started, or until the end of the day where it did not. Times are UTC.",
)


class Case(Struct, frozen=True):
    """A set-up: its name, what it is in a sentence, and its scenario."""

    name: str
    note: str
    scenario: Scenario


class Size(Struct, frozen=True):
    """How much work there is: services, each with some replicas, and what jobs ask for relative to them."""

    services: int
    share: float = OFFLINE_SHARE


FULL, SHORT = Size(20), Size(3)


def cases(seed: int, size: Size) -> list[Case]:
    """The three set-ups on the same work."""
    drawn = offline_work(seed, size)
    pools = (_pool("online", least=LARGE_CPU), _pool("offline", OFFLINE_TAINT))
    return [
        Case(
            "Two clusters",
            "services and jobs each have a cluster of their own. Both buy nodes when pods fit nowhere and return those that are empty.",
            _scenario(
                "two-clusters",
                seed,
                size,
                pools=pools,
                jobs=tuple(_by_requests(each, pool="offline") for each in drawn),
            ),
        ),
        Case(
            "One cluster by requests",
            "jobs request CPU and memory as services do, and so fill what services have not requested.",
            _scenario(
                "by-requests",
                seed,
                size,
                pools=pools,
                jobs=tuple(_by_requests(each) for each in drawn),
            ),
        ),
        Case(
            "Neaptide",
            "one cluster where jobs run on what services requested and do not use, give way to them, and get a node of their own "
            f"only after waiting for {PATIENCE} h; half of the long ones run at night.",
            _neaptide(seed, size, drawn),
        ),
    ]


def offline_work(seed: int, size: Size) -> list[workloads.JobTemplate]:
    """Jobs in order of arrival: as many as it takes to ask for their share of what services ask for."""
    services = workloads.services(seed, size.services, openb())
    wanted = size.share * sum(each.replicas * each.cpu_milli for each in services) * DAY
    many = workloads.jobs(seed, 200 * size.services, openb())
    order = np.random.default_rng(seed).permutation(len(many))
    asked = np.cumsum([many[each].cpu_milli * many[each].parallelism * many[each].duration for each in order.tolist()])
    return [many[each] for each in sorted(order[: np.searchsorted(asked, wanted) + 1].tolist())]


def _scenario(name: str, seed: int, size: Size, *, pools: tuple[PoolSpec, ...], jobs: tuple[JobSpec, ...]) -> Scenario:
    """What all set-ups share: the day, the services, the prices, the autoscaler, how the scheduler packs."""
    return Scenario(
        name=name,
        start=START,
        duration=DAY,
        seed=seed,
        scheduler="cycle",
        profile=PACKED,
        pools=pools,
        trace_services=TraceServices(count=size.services, seed=seed),
        jobs=jobs,
    )


def _neaptide(seed: int, size: Size, drawn: list[workloads.JobTemplate]) -> Scenario:
    """One pool for services; another is bought from for jobs that reclaimed resources did not hold in time."""
    long_ones = [each.name for each in drawn if each.duration >= LONG]
    nightly = set(long_ones[::2])
    scenario = _scenario(
        "neaptide",
        seed,
        size,
        pools=(_pool("online", least=LARGE_CPU), _pool("last-resort", OFFLINE_TAINT, LAST_RESORT, reclaimed=True)),
        jobs=tuple(_on_reclaimed(each, at_night=each.name in nightly) for each in drawn),
    )
    night = {"schedule": "0 21 * * *", "durationSeconds": 10 * HOUR}
    thresholds = {"cpuReclaimThresholdPercent": CPU_PERCENT, "memoryReclaimThresholdPercent": MEMORY_PERCENT}
    rule = {"name": "night", "selector": {"labels": NIGHT}, "windows": [night], "deadlineSeconds": DAY}
    return replace(
        scenario,
        loop_period=LOOP_PERIOD,
        node_rules=RulesSpec(
            cpu_suppress={"threshold_percent": CPU_PERCENT + ABOVE},
            memory_evict={"threshold_percent": MEMORY_PERCENT + ABOVE},
        ),
        policies=(
            PolicySpec(name="reclaim", mode=Mode.ENFORCE, spec=thresholds),
            PolicySpec(name="time-windows", mode=Mode.ENFORCE, spec={"rules": [rule]}),
        ),
    )


def _pool(name: str, *taints: Taint, least: int = LEAST_CPU, reclaimed: bool = False) -> PoolSpec:
    """Nodes of any shipped type of some families with at least so much CPU (milli), at list prices."""
    offerings = tuple(
        OfferingSpec(
            instance_type=each.instance_type,
            allocatable=_allocatable(each, reclaimed=reclaimed),
            price_per_hour=each.price_per_hour,
        )
        for each in shipped().instances
        if each.instance_type.partition(".")[0] in FAMILIES and (each.cpu_milli or 0) >= least
    )
    return PoolSpec(name=name, offerings=offerings, taints=taints)


def _allocatable(each: InstancePrice, *, reclaimed: bool) -> dict[str, Quantity]:
    """What a node has; with `reclaimed`, also what the policy will offer on it while no service runs there."""
    cpu, memory = each.cpu_milli or 0, (each.memory_mib or 0) << 20
    own: dict[str, Quantity] = {"cpu": f"{cpu}m", "memory": memory, "pods": each.pods or 0}
    if not reclaimed:
        return own
    return own | {
        "kubernetes.io/batch-cpu": cpu * CPU_PERCENT // 100,
        "kubernetes.io/batch-memory": memory * MEMORY_PERCENT // 100,
    }


def _by_requests(each: workloads.JobTemplate, *, pool: str = "") -> JobSpec:
    """A job that requests CPU and memory, in a pool of its own or anywhere; below services in the queue."""
    return JobSpec(
        **_work(each),
        priority=BATCH_PRIORITY,
        labels={PRIORITY_CLASS_LABEL: "koord-batch"},
        node_selector={POOL_LABEL: pool} if pool else {},
    )


def _on_reclaimed(each: workloads.JobTemplate, *, at_night: bool) -> JobSpec:
    """The same job on reclaimed resources; one that runs at night is made suspended, as a queue does it."""
    return JobSpec(
        **_work(each),
        tier="batch",
        labels=NIGHT if at_night else {},
        annotations={SCALE_UP_DELAY: f"{PATIENCE}h"},
        suspend=at_night,
    )


def _work(each: workloads.JobTemplate) -> dict[str, Any]:
    """What a job is in every set-up. Jobs of the trace arrive by the time of day, the first after the start."""
    return {
        "name": each.name,
        "namespace": "offline",
        "cpu": f"{each.cpu_milli}m",
        "memory": each.memory_bytes,
        "duration": each.duration,
        "after": (each.arrival - START.hour * HOUR) % DAY,
        "parallelism": each.parallelism,
        "tolerations": (OFFLINE,),
        "checkpoint_seconds": CHECKPOINT,
    }
