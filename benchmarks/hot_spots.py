"""Hot spots on 200 nodes over a day of real usage series: kube-scheduler's defaults, descheduler's rules beside them, and ours.

Services ask for 80 % of the CPU and use what the series say: some much less than they ask for, some more. Services are scaled, and
jobs come and go. All three runs see the same services, series and jobs. The series are those of NEAPTIDE_TRACES where it is
set, else those that the package ships.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.figure import Figure, Peer
from benchmarks.low_node_utilization import LowNodeUtilization, LowNodeUtilizationSpec
from neaptide.loop import LoopMemory, Mode, Setting, run_once
from neaptide.model.columns import Floats, Longs
from neaptide.model.objects import Container, PodSpec, Resources
from neaptide.model.offerings import Offering
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.filters.load_aware import LoadAware as LoadAwareFilter
from neaptide.placement.filters.registry import DEFAULT_FILTERS
from neaptide.placement.place import Placement
from neaptide.placement.profile import DEFAULT, Profile
from neaptide.placement.scores.cool_down_hot_node import CoolDownHotNode
from neaptide.placement.scores.load_aware import LoadAware
from neaptide.placement.scores.node_balance import NodeBalance
from neaptide.placement.scores.registry import DEFAULT_SCORES
from neaptide.policies.arbiter import Budgets
from neaptide.policies.relieve import Relieve, RelieveSpec
from neaptide.simulator.curves import Constant, FromSeries
from neaptide.simulator.machines import POOL_LABEL, Pool
from neaptide.simulator.templates import Job, PodTemplate, Scale, Service
from neaptide.simulator.traces.cpu_usage import load_cpu_usage
from neaptide.simulator.traces.packaged import cpu_series
from neaptide.simulator.traces.series import DAY, WEEK, Series
from neaptide.simulator.world import Settings, World

NODES, CPUS, MEMORY = 200, 32, 128 << 30
REQUESTED = 0.8
"""Which part of the CPU services ask for."""
START, SETTLED = 1_767_225_600.0, 3600.0
"""The first hour is the burst of all services starting: it counts like all others."""
SEEDS = (1, 2)
WARM, HOT = 0.65, 0.9
_BATCH = {"koordinator.sh/priority-class": "koord-batch", "koordinator.sh/qosClass": "BE"}
_NO_BUDGETS = Budgets(
    evictions_per_cycle=10**6,
    evictions_per_node=10**6,
    evictions_per_workload_percent=100,
    evictions_per_workload_per_hour=10**6,
    minimum_stay_seconds=0.0,
)
"""The descheduler has none by default; PodDisruptionBudgets hold all the same."""


class Work(NamedTuple):
    """What every run sees; `profile` is by service the 95th percentile of a pod's use on the day before, in milli-CPU."""

    services: tuple[Service, ...]
    jobs: tuple[Job, ...]
    profile: dict[str, float]


class Way(NamedTuple):
    """A scheduler's profile, and the policy that moves pods, how often it looks, and what it may do."""

    profile: Profile
    setting: Setting | None = None
    period: float = 300.0
    budgets: Budgets = Budgets()


class Use(NamedTuple):
    """What came out: node-minutes above the two marks, the mean deviation of nodes' use in points, evictions, and minutes in which pods were short of CPU, or had no node."""

    warm: float
    hot: float
    deviation: float
    evictions: float
    short: float
    waiting: float


WAYS: dict[str, Way] = {
    "kube-scheduler": Way(DEFAULT),
    "LowNodeUtilization (rules re-implemented)": Way(
        DEFAULT, Setting(LowNodeUtilization(), LowNodeUtilizationSpec(), Mode.ENFORCE), budgets=_NO_BUDGETS
    ),
    "neaptide": Way(
        Profile(
            (*DEFAULT_FILTERS, LoadAwareFilter()),
            (*DEFAULT_SCORES, LoadAware(weight=2), CoolDownHotNode(), NodeBalance(weight=2)),
        ),
        Setting(Relieve(), RelieveSpec(), Mode.ENFORCE),
        period=60.0,
    ),
}


def work(seed: int) -> Work:
    """Services until they ask for their part of the CPU, a third of which are scaled during the day, and jobs."""
    random = np.random.default_rng(seed)
    series = [each for each in _series() if each.times[-1] - each.times[0] >= WEEK]
    services: list[Service] = []
    profile: dict[str, float] = {}
    asked, limit = 0.0, REQUESTED * NODES * CPUS * 1000
    while asked < limit:
        name, cpu = f"service-{len(services)}", int(random.choice([500, 1000, 2000, 4000]))
        replicas = int(np.clip(random.lognormal(2.5, 0.8), 2, 120))
        peak = float(np.clip(random.lognormal(0.0, 0.6), 0.15, 3.0))
        shift = float(random.integers(0, int(WEEK)))
        curve = FromSeries(series[int(random.integers(len(series)))], peak=peak, shift=shift, unit=WEEK)
        scale = _scale(random, replicas) if random.random() < 1 / 3 else ()
        template = _template(cpu, curve, spread=0.3)
        services.append(Service(name=name, template=template, replicas=replicas, scale=scale))
        day_before = curve.usage(np.arange(START - DAY, START, 300.0))
        profile[name] = cpu * float(np.quantile(day_before, 0.95))
        asked += replicas * cpu
    jobs = tuple(_job(random, number) for number in range(200))
    return Work(tuple(services), jobs, profile)


def run(work: Work, way: Way, seed: int) -> Use:
    """A day of one way."""
    placements: list[Placement] = []

    def placer(snapshot: ClusterSnapshot) -> Placement:
        placements.append(Placement(snapshot, way.profile))
        return placements[0]

    amounts = {"cpu": CPUS * 1000, "memory": MEMORY, "pods": 250}
    offering = Offering("m", "on-demand", "a", None, amounts, {POOL_LABEL: "general"})
    world = World(
        Settings(start=START, seed=seed),
        [Pool(name="general", offerings=(offering,), minimum=NODES, maximum=NODES)],
        placer,
    )
    placements[0].view.profiled = _profiled(world.cluster.snapshot, work.profile)
    world.add_nodes(offering, NODES)
    for service in work.services:
        world.add_service(service)
    for job in work.jobs:
        world.add_job(job)
    if way.setting is not None:
        _attach(world, way, way.setting)
    seen: list[Floats] = []
    waiting: list[int] = []

    def look() -> None:
        seen.append(_use(world.cluster.snapshot))
        waiting.append(len(world.cluster.pending))

    world.clock.every(60.0, look, first=START + 60.0)
    world.run_until(START + DAY)
    world.close()
    use = np.array(seen)
    return Use(
        warm=float(np.count_nonzero(use > WARM)),
        hot=float(np.count_nonzero(use > HOT)),
        deviation=100 * float(use.std(axis=1).mean()),
        evictions=float(len(world.ledger.evictions)),
        short=world.ledger.totals["contention_minutes"],
        waiting=float(sum(waiting)),
    )


def _attach(world: World, way: Way, setting: Setting) -> None:
    """Let the loop turn with one policy."""
    memory = LoopMemory()

    def cycle() -> None:
        nonlocal memory
        _, memory = run_once(world, [setting], memory, budgets=way.budgets)

    world.clock.every(way.period, cycle, first=START + way.period)


def measure() -> Iterator[Figure]:
    """All ways, means over the seeds."""
    works = {seed: work(seed) for seed in SEEDS}
    found = {
        name: Use(*np.mean([run(each, way, seed) for seed, each in works.items()], axis=0).tolist())
        for name, way in WAYS.items()
    }
    units = dict.fromkeys(Use._fields, "node-minutes") | {
        "deviation": "points",
        "evictions": "pods",
        "short": "pod-minutes",
        "waiting": "pod-minutes",
    }
    ours = found["neaptide"]
    for name, peer in (("default", "kube-scheduler"), ("descheduler", "LowNodeUtilization (rules re-implemented)")):
        for field in Use._fields:
            if field != "evictions" or name == "descheduler":
                value = getattr(ours, field)
                yield Figure(f"hot_spots.{name}.{field}", value, units[field], Peer(peer, getattr(found[peer], field)))


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"hot_spots": measure}


def _series() -> list[Series]:
    """Of NEAPTIDE_TRACES, else those that the package ships; in the order of their names."""
    traces = os.environ.get("NEAPTIDE_TRACES")
    found = load_cpu_usage(Path(traces) / "cpu_usage").series if traces else cpu_series()
    return [found[name] for name in sorted(found)]


def _template(cpu: int, curve: Any, *, spread: float = 0.0, labels: dict[str, str] | None = None) -> PodTemplate:  # noqa: ANN401 - a Curve
    requests = {"cpu": f"{cpu}m", "memory": f"{cpu * 2}Mi"}
    spec = PodSpec(containers=(Container(name="main", resources=Resources(requests=requests)),))
    return PodTemplate(spec=spec, labels=labels or {}, cpu=curve, memory=Constant(0.6), spread=spread)


def _scale(random: np.random.Generator, replicas: int) -> tuple[Scale, ...]:
    """Out at some time of the day, and back some hours later."""
    out = float(random.uniform(SETTLED, 0.6 * DAY))
    more = max(int(replicas * random.uniform(0.5, 1.5)), 1)
    return Scale(out, more), Scale(out + float(random.uniform(1, 6)) * 3600, replicas)


def _job(random: np.random.Generator, number: int) -> Job:
    template = _template(int(random.choice([500, 1000, 2000])), Constant(1.0), labels=_BATCH)
    count = int(random.integers(1, 12))
    return Job(
        name=f"job-{number}",
        template=template,
        duration=float(random.uniform(600, 7200)),
        after=float(random.uniform(0, DAY)),
        parallelism=count,
        completions=count,
        checkpoint_seconds=60.0,
    )


def _profiled(snapshot: ClusterSnapshot, profile: dict[str, float]) -> Callable[[Longs], Floats]:
    def profiled(pods: Longs) -> Floats:
        owners = snapshot.pods.owner[pods]
        unique, which = np.unique(owners, return_inverse=True)
        names = [
            snapshot.workloads.refs[snapshot.workloads.root(row)].name if row >= 0 else "" for row in unique.tolist()
        ]
        return np.array([profile.get(name, np.nan) for name in names] or [np.nan])[which]

    return profiled


def _use(snapshot: ClusterSnapshot) -> Floats:
    """float64[nodes]: the used part of each node's CPU."""
    rows = snapshot.nodes.indices()
    use: Floats = snapshot.nodes.usage_cpu[rows] / snapshot.nodes.capacity[0, rows]
    return use
