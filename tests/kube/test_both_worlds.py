"""The same cluster, simulated and as a watch tells it, gets the same plans from every policy that moves pods or nodes."""

from collections.abc import Callable, Iterable
from math import isnan
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.simulator.worlds import offering, pool, service, template, world

from neaptide.kube.cache import Cache
from neaptide.model import objects as o
from neaptide.model.actions import Plan
from neaptide.model.cloud import Interruption
from neaptide.model.columns import RUNNING
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.policies.provision_spec import NodePool, ProvisionSpec
from neaptide.policies.registry import POLICIES
from neaptide.policies.repair import RepairMemory
from neaptide.simulator.templates import Service
from neaptide.simulator.world import World

KINDS = ("Node", "Pod", "Deployment", "ReplicaSet", "PodDisruptionBudget")


class Seen:
    """A simulated world of which every pod's object is kept as it was made.

    Args:
        more: services besides the usual ones, before them, by the names of the nodes.
    """

    def __init__(self, more: Callable[[Iterable[str]], Iterable[Service]] = lambda _: ()) -> None:
        dear = offering("dear", price=1.0, capacity_type="on-demand")
        cheap = offering("cheap", price=0.3, capacity_type="spot")
        self.world: World = world(pool("general", dear, cheap), nodes=6)
        self.world.add_nodes(self.world.machines.pools[0].offerings[1], 3)
        self.pods: dict[str, o.Pod] = {}
        snapshot = self.world.cluster.snapshot
        made = snapshot.set_pod

        def set_pod(pod: o.Pod, *rest: Any, **more: Any) -> int:
            self.pods[f"{pod.metadata.namespace}/{pod.metadata.name}"] = pod
            return made(pod, *rest, **more)

        snapshot.set_pod = set_pod  # type: ignore[method-assign] # what is made is written down, and made
        for each in more(sorted(self.world.machines.by_name)):
            self.world.add_service(each)
        for name, cpu in (("web", "1"), ("api", "500m"), ("batch", "250m")):
            self.world.add_service(service(name, replicas=6, template=template(cpu=cpu, labels={"app": name})))
        self.world.run_until(self.world.now() + 1800.0)

    def as_watched(self) -> ClusterSnapshot:
        """The same cluster as the API server would tell it."""
        simulated, cache = self.world.observe(), Cache(KINDS)
        for row in simulated.nodes.indices().tolist():
            name = simulated.nodes.names[row]
            current = self.world.machines.by_name[name].current()
            ready = (o.Condition(type="Ready", status="True"),)
            _tell(cache, "Node", replace(current, status=replace(current.status, conditions=ready)))
        for item in simulated.workloads.objects:
            if item is not None and item.kind in KINDS:
                _tell(cache, item.kind, item)
        for row in simulated.pods.indices().tolist():
            pod = self.pods[simulated.pods.keys[row]]
            node = int(simulated.pods.node[row])
            spec = replace(pod.spec, node_name=simulated.nodes.names[node] if node >= 0 else "")
            running = simulated.pods.phase[row] == RUNNING
            started = float(simulated.pods.started[row])
            status = o.PodStatus(
                phase="Running" if running else "Pending",
                start_time=None if isnan(started) else timestamp(started),
                conditions=(o.Condition(type="Ready", status="True" if simulated.pods.ready[row] else "False"),),
            )
            _tell(cache, "Pod", replace(pod, spec=spec, status=status))
        watched = cache.snapshot
        for row in watched.nodes.indices().tolist():
            twin = simulated.nodes.by_name[watched.nodes.names[row]]
            watched.set_price(row, float(simulated.nodes.price[twin]))
        watched.offerings = simulated.offerings
        return watched


def _tell(cache: Cache, kind: str, item: o.Node | o.Pod | o.Workload) -> None:
    cache.put(kind, msgspec.json.encode(item))


def _comparable(plan: Plan) -> tuple[list[Any], list[Any], set[Any]]:
    """A plan without what only one of the worlds has: the UIDs of its objects."""
    raw = msgspec.to_builtins(plan)
    for each in (*raw["actions"], *raw["later"], *raw["declined"]):
        each["target"].pop("uid", None)
        if each.get("workload"):
            each["workload"].pop("uid", None)
    declined = {(each["target"]["name"], each["reason"]["code"]) for each in raw["declined"]}
    return raw["actions"], raw["later"], declined


def _holding(nodes: Iterable[str]) -> Iterable[Service]:
    """A protected pod on each node."""
    for number, node in enumerate(nodes):
        pinned: dict[str, Any] = {"node_selector": {"kubernetes.io/hostname": node}}
        held = template(cpu="100m", annotations={"karpenter.sh/do-not-disrupt": "true"}, spec=pinned)
        yield service(f"train-{number}", template=held)


def _held() -> Seen:
    """Nodes that are held."""
    return Seen(_holding)


def _short() -> Seen:
    """Pods that find no node."""
    return Seen(lambda _: [service("huge", replicas=24, template=template(cpu="3", labels={"app": "huge"}))])


def _nothing(snapshot: ClusterSnapshot, now: float) -> object | None:
    """What a policy remembers from before: nothing."""
    del snapshot, now
    return None


def _interrupted(snapshot: ClusterSnapshot, now: float) -> object | None:
    """The cloud takes a node back."""
    snapshot.interruptions = [Interruption(_first(snapshot), ends=now + 120.0)]
    return None


def _down(snapshot: ClusterSnapshot, now: float) -> object | None:
    """A node does not answer, and has been seen so for long."""
    name = _first(snapshot)
    snapshot.nodes.ready[snapshot.nodes.by_name[name]] = False
    return RepairMemory({name: now - 1000.0})


def _first(snapshot: ClusterSnapshot) -> str:
    return min(snapshot.nodes.by_name)


SCENES: dict[str, tuple[Callable[[], Seen], Callable[[ClusterSnapshot, float], object | None]]] = {
    "consolidation": (Seen, _nothing),
    "spot-rescheduler": (Seen, _nothing),
    "protected": (_held, _nothing),
    "provision": (_short, _nothing),
    "interruption": (Seen, _interrupted),
    "repair": (Seen, _down),
}
"""By policy, a cluster in which it has something to do, and what happens in it."""
SPECS = {"provision": ProvisionSpec(pools=(NodePool(name="general"),))}
"""Other settings than a policy's defaults."""


@pytest.mark.parametrize("name", SCENES)
def test_both_worlds_get_the_same_plan(name: str) -> None:
    policy = next(each for each in POLICIES if each.name == name)
    make, happens = SCENES[name]
    seen = make()
    now = seen.world.now()
    plans = []
    for snapshot in (seen.as_watched(), seen.world.observe()):
        memory = happens(snapshot, now) or policy.memory_type()
        plans.append(policy.plan(snapshot, SPECS.get(name, policy.spec_type()), memory, now)[0])
    assert plans[0].actions
    assert _comparable(plans[0]) == _comparable(plans[1])
