"""cluster-autoscaler's own yardsticks of scale-down, given to consolidation.

Scale-down: 2,000 nodes with 40 pods of 1 % each (its benchmark of RunOnce expects exactly 1,200 nodes to go). Efficiency: nodes 2 x 1000m, 3 x 4000m and
1 x 9000m with a pod of 1000m on each; what counts is how much of the nodes is asked for afterwards.
"""

import time
from collections.abc import Iterator, Sequence

from benchmarks.figure import Figure, Peer
from neaptide.model import objects as o
from neaptide.model.actions import DeleteNode, Plan
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.consolidation import Consolidation, ConsolidationMemory
from neaptide.policies.consolidation_spec import ConsolidationSpec

NOW = 1.8e9
NODES, PODS_EACH, EXPECTED = 2_000, 40, 1_200
EFFICIENCY = (1_000, 1_000, 4_000, 4_000, 4_000, 9_000)
"""Milli-CPU of its nodes."""


def figures() -> Iterator[Figure]:
    """Nodes given back with the time that planning takes, then the share of CPU that is asked for before and after."""
    planned(cluster([1_000] * 40, PODS_EACH, 10))  # machine code is there
    almost_empty = cluster([1_000] * NODES, PODS_EACH, 10)
    began, cpu = time.perf_counter(), time.process_time()
    plan = planned(almost_empty)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    start = f"autoscaler_yardsticks.scale_down.nodes_{NODES}.pods_{NODES * PODS_EACH}"
    yield Figure(f"{start}.given_back", float(len(given_back(plan))), "nodes", Peer("its benchmark", EXPECTED))
    yield Figure(f"{start}.seconds", seconds, "s")
    yield Figure(f"{start}.cpu_seconds", cpu, "s")
    mixed = cluster(EFFICIENCY, 1, 1_000)
    gone = given_back(planned(mixed))
    kept = sum(milli for number, milli in enumerate(EFFICIENCY) if f"n{number}" not in gone)
    asked = 1_000 * len(EFFICIENCY)
    yield Figure("autoscaler_yardsticks.efficiency.before_percent", 100 * asked / sum(EFFICIENCY), "%")
    yield Figure("autoscaler_yardsticks.efficiency.after_percent", 100 * asked / kept, "%", Peer("bound", 100.0))


def cluster(sizes: Sequence[int], pods: int, milli: int) -> ClusterSnapshot:
    """Nodes of so many milli-CPU, priced by them, each with so many pods of so many milli-CPU."""
    snapshot = ClusterSnapshot()
    for number, size in enumerate(sizes):
        amounts = {"cpu": f"{size}m", "memory": "100Gi", "pods": "110"}
        meta = o.Metadata(name=f"n{number}", labels={"kubernetes.io/hostname": f"n{number}"})
        row = snapshot.set_node(o.Node(meta, status=o.NodeStatus(allocatable=amounts)))
        snapshot.set_price(row, size / 10_000)
    snapshot.add_pods([_pod(number, of, milli) for number in range(len(sizes)) for of in range(pods)])
    return snapshot


def planned(snapshot: ClusterSnapshot) -> Plan:
    """The first plan, with the defaults."""
    return Consolidation().plan(snapshot, ConsolidationSpec(), ConsolidationMemory(), NOW)[0]


def given_back(plan: Plan) -> set[str]:
    """The names of the nodes that go."""
    return {each.target.name for each in (*plan.actions, *plan.later) if isinstance(each, DeleteNode)}


def _pod(node: int, number: int, milli: int) -> o.Pod:
    name, owner = f"p{node}-{number}", o.OwnerReference(kind="ReplicaSet", name="web", controller=True)
    meta = o.Metadata(name=name, namespace="default", uid=name, labels={"app": "web"}, owner_references=(owner,))
    container = o.Container("c", resources=o.Resources({"cpu": f"{milli}m"}))
    spec = o.PodSpec(containers=(container,), node_name=f"n{node}")
    return o.Pod(meta, spec, o.PodStatus(phase="Running", start_time="2026-01-01T00:00:00Z"))


GROUPS = {"autoscaler_yardsticks": figures}
