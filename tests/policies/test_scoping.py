"""A Policy's scope: work beyond it is neither touched nor counted against the bounds of a cycle, and still counts as load."""

from typing import Any

from tests.builders import node, pod

from neaptide.loop import LoopMemory, Mode, Setting, plan_all
from neaptide.model import objects as o
from neaptide.model.actions import Plan
from neaptide.model.protocols import Policy
from neaptide.model.scope import Scope
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.reclaim import Reclaim, ReclaimSpec
from neaptide.policies.time_windows import TimeWindows
from neaptide.policies.time_windows_spec import Rule, Selector, TimeWindowsSpec
from neaptide.policies.window_schedule import WindowSpec

NOW = 1_800_000_000.0
CLOSED = Rule(
    selector=Selector(labels={}), windows=(WindowSpec("0 0 29 2 *", 1.0),), grace_seconds=0.0, max_per_cycle=2
)


def job(name: str, namespace: str) -> o.Workload:
    template = o.PodTemplate(o.Metadata(labels={"koordinator.sh/qosClass": "BE"}))
    return o.Workload("Job", o.Metadata(name, namespace, uid=name), o.WorkloadSpec(template=template))


def cluster() -> ClusterSnapshot:
    """Two nodes, and of each of two namespaces four jobs; those of the first come first."""
    snapshot = ClusterSnapshot()
    for name, zone in (("node-0", "a"), ("node-1", "b")):
        row = snapshot.set_node(node(name, cpu="16", memory="64Gi", labels={"zone": zone}))
        snapshot.set_node_usage(row, 1000.0, 2e9, NOW)
    for number in range(8):
        snapshot.set(job(f"job-{number}", "a-others" if number < 4 else "mine"))
    snapshot.set_pod(pod("web-0", node="node-0", cpu="4"))
    return snapshot


def planned(snapshot: ClusterSnapshot, policy: Policy, spec: Any, scope: Scope) -> Plan:
    (plan,), _ = plan_all(snapshot, [Setting(policy, spec, Mode.ENFORCE, scope)], LoopMemory(), NOW)
    return plan


def test_work_out_of_scope_uses_up_no_bound_of_a_cycle() -> None:
    snapshot, spec = cluster(), TimeWindowsSpec((CLOSED,))
    everywhere = planned(snapshot, TimeWindows(), spec, Scope())
    mine = planned(snapshot, TimeWindows(), spec, Scope(namespaces=("mine",)))
    assert [action.target.name for action in everywhere.actions] == ["job-0", "job-1"]
    assert [action.target.name for action in mine.actions] == ["job-4", "job-5"]
    assert {each.target.namespace for each in mine.declined} == {"mine"}


def test_nodes_out_of_scope_are_left_as_they_are_and_nothing_is_remembered_of_them() -> None:
    snapshot, spec = cluster(), ReclaimSpec(cold_start_seconds=0.0)
    scope = Scope(node_selector=o.LabelSelector(match_labels={"zone": "b"}))
    everywhere = planned(snapshot, Reclaim(), spec, Scope())
    (plan,), remembered = plan_all(snapshot, [Setting(Reclaim(), spec, Mode.ENFORCE, scope)], LoopMemory(), NOW)
    assert list(plan.actions) == [action for action in everywhere.actions if action.target.name == "node-1"]
    assert set(remembered["reclaim"].written) == {"node-1"}
