"""The same cluster, simulated and as a watch tells it, gets the same plans from every policy that moves pods or nodes."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.simulator.worlds import offering, pool, service, template, world

from neaptide.kube.cache import Cache
from neaptide.model import objects as o
from neaptide.model.actions import Plan
from neaptide.model.columns import RUNNING
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.policies.registry import POLICIES
from neaptide.simulator.world import World

KINDS = ("Node", "Pod", "Deployment", "ReplicaSet", "PodDisruptionBudget")


class Seen:
    """A simulated world of which every pod's object is kept as it was made."""

    def __init__(self) -> None:
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
            status = o.PodStatus(
                phase="Running" if running else "Pending",
                start_time=timestamp(float(simulated.pods.started[row])),
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


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.mark.parametrize("name", ["consolidation", "spot-rescheduler"])
def test_both_worlds_get_the_same_plan(seen: Seen, name: str) -> None:
    policy = next(each for each in POLICIES if each.name == name)
    simulated, watched, now = seen.world.observe(), seen.as_watched(), seen.world.now()
    plans = [
        policy.plan(snapshot, policy.spec_type(), policy.memory_type(), now)[0] for snapshot in (simulated, watched)
    ]
    assert plans[0].actions
    assert _comparable(plans[0]) == _comparable(plans[1])
