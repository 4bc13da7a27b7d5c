"""The scheduling cycle: pods placed per second of CPU on 1,000 nodes, from the events of a first list to confirmed bindings.

5,000 pods of 100 Deployments wait when the scheduler starts. `plan` is one Cycle event: queue sort, filter, score, reserve and the
actions to bind; `all` adds taking the list in and the events that confirm every binding. Machine code is warm, as in a scheduler that
runs. The cases with plugins place pods that an ElasticQuota, gangs or shared GPUs have a say about, the last two pod by pod or gang by gang.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from benchmarks.figure import Figure, Peer
from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.scheduling_objects import ElasticQuota, ElasticQuotaSpec, PodGroup, PodGroupSpec
from neaptide.placement import warm
from neaptide.placement.cycle import events
from neaptide.placement.cycle.actions import Bind, Preempt
from neaptide.placement.cycle.devices import CORE, GPU, MEMORY_RATIO
from neaptide.placement.cycle.gangs import POD_GROUP_LABEL
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile

NODES, PODS, DEPLOYMENTS, GANG = 1_000, 5_000, 100, 50
TARGET = Peer("the target: 5,000 pods within a second", 5_000)


class Seconds(NamedTuple):
    """CPU seconds, and how many pods got a node."""

    plan: float
    all: float
    bound: int


def figures() -> Iterator[Figure]:
    """Plain pods, pods of a quota, gangs, shared GPUs, and preemption on a full cluster."""
    warm.scheduling()
    plain = _best(lambda: _run(_nodes(), _pods()))
    yield _figure("plan", plain.bound / plain.plan)
    yield _figure("all", plain.bound / plain.all)
    quota = ElasticQuota(
        o.Metadata(name="q", namespace="default"), ElasticQuotaSpec({"cpu": "10000"}, {"cpu": "20000"})
    )
    held = _best(lambda: _run([*_nodes(), quota], _pods()))
    yield _figure("quota.plan", held.bound / held.plan)
    groups = [
        PodGroup(o.Metadata(name=f"g{each}", namespace="default"), PodGroupSpec(GANG)) for each in range(PODS // GANG)
    ]
    gangs = _best(lambda: _run([*_nodes(), *groups], _pods(gang=True)))
    yield _figure("gangs.plan", gangs.bound / gangs.plan)
    shared = _best(lambda: _run(_nodes(gpus=8), _pods(PODS // 5, share="25")))
    yield _figure("shared_gpus.plan", shared.bound / shared.plan)
    made = min(_preempting() for _ in range(3))
    yield Figure("cycle.preemption.pods_per_second", 100 / made, "pods/s of CPU")


GROUPS = {"cycle": figures}


def _figure(name: str, rate: float) -> Figure:
    return Figure(f"cycle.{name}.pods_per_second", rate, "pods/s of CPU", TARGET)


def _best(run: Callable[[], Seconds], *, times: int = 3) -> Seconds:
    return min((run() for _ in range(times)), key=lambda each: each.all)


def _run(others: Sequence[AnyObject], pods: Sequence[o.Pod]) -> Seconds:
    machine = SchedulingCycle(CycleProfile(), protects=lambda *_: None)
    machine.step(events.Listed(tuple(others)), 0.0)
    by_key = {f"default/{each.metadata.name}": each for each in pods}
    start = time.process_time()
    machine.step(events.Listed(tuple(pods)), 0.0)
    listed = time.process_time()
    binds = [each for each in machine.step(events.Cycle(), 1.0) if isinstance(each, Bind)]
    planned = time.process_time()
    for bind in binds:
        key = f"default/{bind.pod.name}"
        machine.step(events.Bound(key, bind.pod.uid), 2.0)
        pod = by_key[key]
        machine.step(events.Applied(o.Pod(pod.metadata, replace(pod.spec, node_name=bind.node), pod.status)), 2.0)
    return Seconds(planned - listed, time.process_time() - start, len(binds))


def _preempting() -> float:
    """CPU seconds of planning 100 pods of prod on a cluster that is full of batch pods."""
    machine = SchedulingCycle(CycleProfile(), protects=lambda *_: None)
    fillers = [_pod(f"f{each}", "4", "4Gi", node=f"n{each % NODES}", priority=5500) for each in range(8 * NODES)]
    machine.step(events.Listed((*_nodes(), *fillers)), 0.0)
    machine.step(events.Listed(tuple(_pod(f"p{each}", "6", "4Gi", priority=9500) for each in range(100))), 0.0)
    start = time.process_time()
    wanted = machine.step(events.Cycle(), 1.0)
    seconds = time.process_time() - start
    if sum(isinstance(each, Preempt) for each in wanted) != 100:
        raise RuntimeError("every pod of prod should find victims")
    return seconds


def _nodes(gpus: int = 0) -> list[o.Node]:
    amounts = {"cpu": "32", "memory": "128Gi", "pods": "110"} | ({GPU: str(gpus)} if gpus else {})
    return [
        o.Node(
            o.Metadata(name=f"n{each}", labels={"kubernetes.io/hostname": f"n{each}"}),
            status=o.NodeStatus(allocatable=amounts, capacity=amounts),
        )
        for each in range(NODES)
    ]


def _pods(count: int = PODS, *, gang: bool = False, share: str = "") -> list[o.Pod]:
    rng = random.Random(1)
    shapes = [
        (f"{rng.choice((100, 250, 500, 1000))}m", f"{rng.choice((128, 256, 512, 1024))}Mi") for _ in range(DEPLOYMENTS)
    ]
    found = []
    for each in range(count):
        workload = each // GANG if gang else each % DEPLOYMENTS
        cpu, memory = shapes[workload % DEPLOYMENTS]
        labels = {POD_GROUP_LABEL: f"g{workload}"} if gang else {}
        found.append(_pod(f"p{each}", cpu, memory, workload=workload, share=share, labels=labels))
    return found


def _pod(
    name: str,
    cpu: str,
    memory: str,
    *,
    workload: int = 0,
    node: str = "",
    priority: int = 9500,
    share: str = "",
    labels: dict[str, str] | None = None,
) -> o.Pod:
    requests = {"cpu": cpu, "memory": memory} | ({CORE: share, MEMORY_RATIO: share} if share else {})
    container = o.Container(name="main", resources=o.Resources(requests=requests))
    owner = o.OwnerReference(kind="ReplicaSet", name=f"d{workload}", controller=True)
    meta = o.Metadata(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        labels={"app": f"d{workload}"} | (labels or {}),
        owner_references=(owner,),
    )
    spec = o.PodSpec(containers=(container,), node_name=node, scheduler_name="neaptide", priority=priority)
    return o.Pod(meta, spec, o.PodStatus(phase="Running" if node else "Pending"))
