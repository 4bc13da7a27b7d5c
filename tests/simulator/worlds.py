"""Short ways to make simulated worlds, services and jobs in tests."""

from typing import Any

from msgspec import structs
from tests.simulator.stand_in import FirstFit

from neaptide.model import objects as o
from neaptide.model.offerings import Offering
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.simulator.curves import Constant, Curve
from neaptide.simulator.machines import POOL_LABEL, Pool
from neaptide.simulator.templates import Job, PodTemplate, Service
from neaptide.simulator.world import Settings, World

START = 1_767_225_600.0  # 2026-01-01, a midnight
GIB = 2**30
NO_BUYING: dict[str, Any] = {"enabled": False}


def offering(
    name: str = "large",
    *,
    cpu: int = 4000,
    memory: int = 16 * GIB,
    price: float | None = 1.0,
    capacity_type: str = "on-demand",
    pool: str = "general",
) -> Offering:
    amounts = {"cpu": cpu, "memory": memory, "pods": 110}
    return Offering(name, capacity_type, "zone-a", price, amounts, {POOL_LABEL: pool})


def pool(name: str = "general", *offerings: Offering, **fields: Any) -> Pool:
    return Pool(name=name, offerings=offerings or (offering(pool=name),), **fields)


def world(
    *pools: Pool, nodes: int = 0, buying: bool = False, profile: CycleProfile | None = None, **fields: Any
) -> World:
    """A world with `nodes` nodes of the first pool's first offering; it buys none unless told so."""
    settings = Settings(start=START, **fields)
    if not buying:
        settings = structs.replace(settings, autoscaler=structs.replace(settings.autoscaler, enabled=False))
    made = World(settings, pools or (pool(),), FirstFit, profile)
    made.add_nodes(made.machines.pools[0].offerings[0], nodes)
    return made


def template(
    *,
    cpu: str = "1",
    memory: str = "1Gi",
    usage: float | Curve = 1.0,
    memory_usage: float = 1.0,
    best_effort: bool = False,
    limited: bool = False,
    spec: dict[str, Any] | None = None,
    **fields: Any,
) -> PodTemplate:
    """Pods that are running a second after they were bound; best-effort ones ask for batch resources."""
    names = ("kubernetes.io/batch-cpu", "kubernetes.io/batch-memory") if best_effort else ("cpu", "memory")
    amount = cpu
    if best_effort:
        amount = str(round(float(cpu) * 1000))
    requests = dict(zip(names, (amount, memory), strict=True))
    labels = {"koordinator.sh/qosClass": "BE"} if best_effort else {}
    resources = o.Resources(requests=requests, limits=requests if best_effort or limited else {})
    container = o.Container(name="main", image="example", resources=resources)
    chosen = {"pull_seconds": 0.0, "start_seconds": 1.0, "shutdown_seconds": 2.0} | fields
    return PodTemplate(
        spec=o.PodSpec(containers=(container,), **(spec or {})),
        labels=chosen.pop("labels", {}) | labels,
        cpu=Constant(usage) if isinstance(usage, float) else usage,
        memory=Constant(memory_usage),
        **chosen,
    )


def service(name: str = "web", replicas: int = 1, kind: str = "Deployment", **fields: Any) -> Service:
    return Service(
        name=name,
        replicas=replicas,
        kind=kind,  # type: ignore[arg-type] # one of the three
        **({"template": template(labels={"app": name})} | fields),
    )


def job(name: str = "batch", duration: float = 100.0, **fields: Any) -> Job:
    return Job(name=name, duration=duration, **({"template": template()} | fields))


def pods(made: World, prefix: str = "") -> list[str]:
    """Keys of the pods there are, sorted."""
    table = made.cluster.snapshot.pods
    return sorted(table.keys[row] for row in table.indices() if table.keys[row].startswith(f"default/{prefix}"))


def running(made: World, prefix: str = "") -> list[str]:
    """Keys of the pods that are running and ready."""
    table = made.cluster.snapshot.pods
    return [key for key in pods(made, prefix) if table.ready[table.by_key[key]]]


def sold(*, cpu: str, memory: str) -> dict[str, Any]:
    """A node on sale as a scenario's file says it, of which one is there."""
    return {
        "instance_type": "m",
        "zone": "a",
        "capacity_type": "on-demand",
        "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
        "price_per_hour": 0.4,
        "nodes": 1,
    }
