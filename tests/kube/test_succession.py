"""A successor plans what its predecessor would have planned, and plans nothing on a picture that is old."""

from pathlib import Path

from tests.kube.live import speaking
from tests.kubeapi.recorded import until
from tests.testbed.asking import deployment, done

from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator
from neaptide.kube.configuration import Configuration
from neaptide.kube.leader import Leader, Writers
from neaptide.kube.memory import MemoryStore
from neaptide.kube.metrics import Metrics
from neaptide.kube.plans import Plans
from neaptide.kube.statuses import Statuses
from neaptide.kube.usage.readings import Reading, Readings
from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.loop import Mode, Setting, checkpoint, plan_all
from neaptide.model.actions import Plan
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.workloads import is_suspended
from neaptide.policies.reclaim import Reclaim, ReclaimSpec
from neaptide.policies.time_windows import TimeWindows
from neaptide.policies.time_windows_spec import Rule, Selector, TimeWindowsSpec
from neaptide.policies.window_schedule import WindowSpec
from neaptide.records.log import Log
from neaptide.records.reading import read
from neaptide.testbed.cluster import Testbed

START = 1_800_000_000.0


def settings(namespace: str) -> list[Setting]:
    selector = Selector(kinds=("Deployment",), namespaces=(namespace,))
    closed = Rule(selector=selector, windows=(WindowSpec("0 0 29 2 *", 1.0),), grace_seconds=0.0, max_per_cycle=1)
    windows = Setting(TimeWindows(), TimeWindowsSpec((closed,)), Mode.ENFORCE)
    return [Setting(Reclaim(), ReclaimSpec(cold_start_seconds=0.0), Mode.RECOMMEND), windows]


def use(world: World, snapshot: ClusterSnapshot, now: float) -> None:
    """Have all nodes measured: by what a kwok node uses, nothing could be learnt."""
    nodes = {name: Reading(900.0 + 10 * number, 2e9, now) for number, name in enumerate(sorted(snapshot.nodes.by_name))}
    pods = {key: Reading(50.0, 3e7, now) for key in snapshot.pods.by_key}
    world.meter.readings = Readings(nodes, pods)


def suspended(world: World, namespace: str) -> int:
    """How many Deployments are suspended, as far as the watch has told; their ReplicaSets get the annotation, too."""
    workloads = world.cache.snapshot.workloads
    mine = [ref.kind == "Deployment" and ref.namespace == namespace for ref in workloads.refs]
    pairs = zip(mine, workloads.objects, strict=True)
    return sum(is_mine and each is not None and is_suspended(each) for is_mine, each in pairs)


def test_a_successor_makes_the_plan_that_its_predecessor_would_have_made(
    control_plane: Testbed, namespace: str, nodes: tuple[str, ...], tmp_path: Path
) -> None:
    for number in range(4):
        done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment(f"web-{number}", 1))
    now = [START]

    async def ask(client: Client) -> tuple[list[Plan], list[Plan], bytes, bytes]:
        actuator = Actuator(Api(client, lambda: now[0]))
        chosen = settings(namespace)
        async with World(client, actuator=actuator, clock=lambda: now[0]) as world:
            await world.ready()
            configuration = Configuration(client, fixed=chosen)
            with Log(tmp_path, "journal") as journal:

                def leader(name: str) -> Leader:
                    store = MemoryStore(client, namespace, name)
                    return Leader(
                        world, configuration, Writers(store, Plans(client), Statuses(client), Metrics(), journal)
                    )

                first = leader("first")
                await first.begin()
                for number in range(1, 4):
                    now[0] += 60
                    use(world, world.cache.snapshot, now[0])
                    await first.cycle()
                    await until(lambda number=number: suspended(world, namespace) == number)  # type: ignore[misc]
                successor = leader("successor")
                await successor.begin()
            now[0] += 60
            use(world, world.cache.snapshot, now[0])
            with world.cache.held():
                snapshot = world.observe()
                plans = [plan_all(snapshot, settings(namespace), each.memory, now[0])[0] for each in (first, successor)]
            return plans[0], plans[1], checkpoint(first.memory), checkpoint(successor.memory)

    kept, again, before, after = speaking(control_plane, ask)
    assert again == kept
    assert after == before
    assert {type(action).__name__ for plan in kept for action in plan.actions} == {"SetNodeResources", "Suspend"}
    outcomes = [each for _, cycle in read(tmp_path, "journal") for each in cycle["outcomes"]]
    assert sum(each["result"] == "Done" for each in outcomes) == 3
    assert nodes


def test_nothing_is_planned_on_a_picture_that_is_old(control_plane: Testbed, namespace: str) -> None:
    async def ask(client: Client) -> bytes:
        async with World(client) as world:
            await world.ready()
            metrics = Metrics()
            for stream in world.cache.streams.values():
                stream.heard = -1e9
            writers = Writers(MemoryStore(client, namespace, "any"), Plans(client), Statuses(client), metrics, None)
            await Leader(world, Configuration(client, fixed=settings(namespace)), writers).cycle()
            return metrics.exposition()

    shown = speaking(control_plane, ask).decode()
    assert 'neaptide_cycles_total{result="stale"} 1.0' in shown
    assert 'neaptide_cycles_total{result="done"}' not in shown
