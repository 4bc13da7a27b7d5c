"""Nodes that protected jobs hold: what the cluster costs until the last of them ends, with the policy `protected` and without it.

Twelve nodes of 8 cores at 1 USD/h hold one protected job each, when two thirds of the service's pods go; more protected jobs come while
the first run. Pods are placed by kube-scheduler's scores, and consolidation gives back what it may. Without `protected` that is Karpenter's rules: a node
with a protected pod is no candidate, is not tainted, and takes whatever the scheduler puts there (rules re-implemented). The
bound is the nodes of the first jobs, which cannot move, or what all pods need in fractions of nodes, whichever is more: no policy that knew
when each ends could do with less.
"""

from collections.abc import Callable, Iterator

from benchmarks.figure import Figure, Peer
from neaptide.loop import LoopMemory, Mode, Setting, run_once
from neaptide.model import objects as o
from neaptide.model.offerings import Offering
from neaptide.placement.place import Placement
from neaptide.policies.arbiter import Budgets
from neaptide.policies.consolidation import Consolidation
from neaptide.policies.consolidation_spec import Budget, ConsolidationSpec
from neaptide.policies.protected import Protected
from neaptide.policies.protected_pods import holding
from neaptide.policies.protected_spec import ProtectedSpec
from neaptide.simulator.autoscaler import AutoscalerSettings
from neaptide.simulator.curves import Constant
from neaptide.simulator.machines import POOL_LABEL, CloudSettings, Pool
from neaptide.simulator.templates import Job, PodTemplate, Scale, Service
from neaptide.simulator.world import Settings, World

HOLDS = {"10_minutes": 600.0, "2_hours": 7200.0, "12_hours": 43200.0}
NODES, CORES, PRICE = 12, 8, 1.0
BEFORE, AFTER = 120, 40
"""Pods of the service, half a core each."""
ARRIVALS = 10
"""Protected jobs that come while the first ones run, evenly; each takes half as long as these."""
_START = 1_767_225_600.0
_SETTLED = 900.0
_GIB = 2**30


def figures() -> Iterator[Figure]:
    """By how long the first jobs hold their nodes, which no policy is told."""
    for name, hold in HOLDS.items():
        without, bound = _money(hold, protected=False)
        money, _ = _money(hold, protected=True)
        yield Figure(f"protected.money.{name}", money, "USD", Peer("Karpenter's rules, re-implemented", without))
        yield Figure(f"protected.money_of_peer.{name}", money / without, "times", Peer("Karpenter's rules", 1.0))
        yield Figure(f"protected.money_of_bound.{name}", money / bound, "times", Peer("bound with known ends", 1.0))


def _money(hold: float, *, protected: bool) -> tuple[float, float]:
    """US dollars from the scaling down until the last protected job has ended, and the bound of that."""
    world, step = _world(hold), max(30.0, hold / 240)
    world.run_until(_START + _SETTLED)
    settings = [Setting(Consolidation(), ConsolidationSpec(budgets=(Budget("100%"),), replace=False), Mode.ENFORCE)]
    if protected:
        settings.insert(0, Setting(Protected(), ProtectedSpec(), Mode.ENFORCE))
    budgets = Budgets(
        evictions_per_cycle=200,
        evictions_per_node=50,
        evictions_per_workload_percent=100,
        evictions_per_workload_per_hour=10_000,
    )
    memory, money, bound, now = LoopMemory(), 0.0, 0.0, _START + _SETTLED
    while now < _START + _SETTLED + 2 * hold and (now < _START + _SETTLED + hold or _held(world)):
        _, memory = run_once(world, settings, memory, budgets=budgets)
        now += step
        world.run_until(now)
        money += step / 3600 * PRICE * len(world.machines.by_name)
        bound += step / 3600 * PRICE * _least(world)
    return money, bound


def _world(hold: float) -> World:
    amounts = {"cpu": CORES * 1000, "memory": 4 * CORES * _GIB, "pods": 110}
    sold = Offering("large", "on-demand", "a", PRICE, amounts, {POOL_LABEL: "work"})
    settings = Settings(
        start=_START, tick=60.0, seed=1, autoscaler=AutoscalerSettings(empty_seconds=1e9),
        cloud=CloudSettings(provision_seconds=60.0),
    )  # fmt: skip
    world = World(settings, [Pool(name="work", offerings=(sold,))], Placement)
    world.add_nodes(sold, NODES)
    down = (Scale(after=_SETTLED, replicas=AFTER),)
    world.add_service(Service(name="web", kind="Deployment", replicas=BEFORE, template=_template({}), scale=down))
    keep = {"karpenter.sh/do-not-disrupt": "true"}
    for number in range(NODES):
        world.add_job(Job(name=f"first-{number}", duration=hold + _SETTLED, template=_template(keep)))
    for number in range(ARRIVALS):
        after = _SETTLED + hold * (number + 1) / (ARRIVALS + 1)
        world.add_job(Job(name=f"late-{number}", after=after, duration=hold / 2, template=_template(keep)))
    return world


def _template(annotations: dict[str, str]) -> PodTemplate:
    container = o.Container(
        name="main", image="example", resources=o.Resources(requests={"cpu": "500m", "memory": "1Gi"})
    )
    return PodTemplate(
        spec=o.PodSpec(containers=(container,)), annotations=annotations, labels={"app": "web"} if not annotations else {},
        cpu=Constant(0.5), memory=Constant(0.5), pull_seconds=0.0, start_seconds=5.0, shutdown_seconds=2.0,
    )  # fmt: skip


def _held(world: World) -> bool:
    return bool(len(holding(world.cluster.snapshot, world.now())))


def _least(world: World) -> float:
    """How many nodes it takes at least: of the first jobs each has one, and none of them may move."""
    snapshot = world.cluster.snapshot
    pods = snapshot.pods
    first = {int(pods.node[row]) for row in pods.indices() if "/first-" in pods.keys[row] and pods.node[row] >= 0}
    used = float(snapshot.nodes.used[0, snapshot.nodes.indices()].sum()) / 1000
    return max(used / CORES, float(len(first)))


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"protected.": figures}
