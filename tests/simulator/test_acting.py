"""Actions on the simulated cluster: preconditions, disruption budgets, suspension, node resources."""

from typing import Any

import pytest
from tests.simulator.worlds import START, job, pods, running, service, template, world

from neaptide.model import objects as o
from neaptide.model.actions import (
    FOR_LABEL,
    AnyAction,
    Cordon,
    CreateNode,
    DeleteNode,
    Evict,
    Outcome,
    Precondition,
    Reason,
    Ref,
    Resume,
    Scale,
    SetNodeResources,
    Suspend,
    Taint,
    Uncordon,
    Untaint,
)
from neaptide.model.problems import FieldError
from neaptide.model.protocols import CloudProvider
from neaptide.model.protocols import World as AnyWorld
from neaptide.simulator.cluster import Cause
from neaptide.simulator.world import World

WHY = Reason("Test", "because")


def budget(**spec: Any) -> o.PodDisruptionBudget:
    return o.PodDisruptionBudget(
        o.Metadata(name="web", namespace="default"),
        o.DisruptionBudgetSpec(selector=o.LabelSelector({"app": "web"}), **spec),
    )


def eviction(made: World, key: str, **fields: Any) -> Evict:
    table = made.cluster.snapshot.pods
    row = table.by_key[key]
    node = made.cluster.snapshot.nodes.names[int(table.node[row])]
    target = Ref("Pod", key.partition("/")[2], "default", table.uids[row])
    return Evict(policy="test", target=target, reason=WHY, workload=None, **({"node": node} | fields))


def act(made: World, action: AnyAction) -> Outcome:
    (outcome,) = made.act([action])
    return outcome


def web(replicas: int = 4, **spec: Any) -> World:
    made = world(nodes=2)
    if spec:
        made.add_budgets([budget(**spec)])
    made.add_service(service(replicas=replicas, template=template(labels={"app": "web"}, shutdown_seconds=20.0)))
    made.run_until(START + 60)
    return made


def test_the_world_and_its_cloud_are_what_the_loop_expects() -> None:
    made = world(nodes=1)
    as_world: AnyWorld = made
    as_cloud: CloudProvider = made.machines
    assert as_world.now() == START
    assert len(as_cloud.offerings()) == 1


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"max_unavailable": 1}, 1),
        ({"max_unavailable": "50%"}, 2),
        ({"max_unavailable": "30%"}, 2),
        ({"min_available": 4}, 0),
        ({"min_available": "60%"}, 1),
        ({"max_unavailable": 0}, 0),
    ],
    ids=[
        "one may go",
        "half may go",
        "percentages round up",
        "all must stay",
        "the least rounds up as well",
        "none may go",
    ],
)
def test_evictions_stop_where_the_disruption_budget_does(spec: dict[str, Any], allowed: int) -> None:
    made = web(**spec)
    snapshot = made.observe()
    assert snapshot.others["PodDisruptionBudget"]["default/web"].status.disruptions_allowed == allowed
    outcomes = made.act([eviction(made, key) for key in pods(made)])
    assert [outcome.result for outcome in outcomes] == ["Done"] * allowed + ["Refused"] * (4 - allowed)
    assert {outcome.reason.code for outcome in outcomes[allowed:]} == {"TooManyRequests"}
    assert len(made.ledger.evictions) == allowed


def test_a_budget_allows_more_once_the_replacement_is_ready() -> None:
    made = web(max_unavailable=1)
    first, second = pods(made)[:2]
    assert act(made, eviction(made, first)).result == "Done"
    assert act(made, eviction(made, second)).result == "Refused"
    made.run_until(START + 120)
    assert act(made, eviction(made, second)).result == "Done"


def test_pods_of_two_budgets_are_never_evicted() -> None:
    made = web(max_unavailable=2)
    other = budget(max_unavailable=2)
    made.add_budgets([o.PodDisruptionBudget(o.Metadata(name="again", namespace="default"), other.spec)])
    assert act(made, eviction(made, pods(made)[0])).reason.code == "SeveralBudgets"


@pytest.mark.parametrize("amount", ["half", "-1", "5%%"])
def test_a_budget_that_says_no_number_is_refused(amount: str) -> None:
    with pytest.raises(FieldError) as error:
        world().add_budgets([budget(max_unavailable=amount)])
    assert (error.value.field, error.value.value) == ("spec.max_unavailable", amount)


def test_grace_is_what_the_action_says_at_most() -> None:
    made = web()
    key = pods(made)[0]
    act(made, eviction(made, key, grace_seconds=3.0))
    made.run_until(START + 62)
    assert key in pods(made)
    made.run_until(START + 64)
    assert key not in pods(made)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"target": Ref("Pod", "web-gone", "default")}, "NotFound"),
        ({"target": "another uid"}, "Conflict"),
        ({"preconditions": (Precondition("status.phase", "Pending"),)}, "Conflict"),
        ({"preconditions": (Precondition("spec.color", "red"),)}, "Conflict"),
        ({"node": "another"}, "Moved"),
    ],
    ids=[
        "it is not there",
        "it is another pod of that name",
        "a precondition does not hold",
        "a precondition cannot be checked",
        "it runs elsewhere",
    ],
)
def test_what_has_changed_is_left_alone(change: dict[str, Any], code: str) -> None:
    made = web()
    key = pods(made)[0]
    if change.get("target") == "another uid":
        change = {"target": Ref("Pod", key.partition("/")[2], "default", "another")}
    action = eviction(made, key)
    fields = {name: getattr(action, name) for name in action.__struct_fields__} | change
    outcome = act(made, Evict(**fields))
    assert (outcome.result, outcome.reason.code) == ("Refused", code)
    assert len(running(made)) == 4


def test_preconditions_that_hold_let_an_action_pass_and_going_pods_are_not_evicted_again() -> None:
    made = web()
    action = eviction(made, pods(made)[0], preconditions=(Precondition("status.phase", "Running"),))
    assert act(made, action).result == "Done"
    assert act(made, action).reason.code == "Terminating"


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_suspended_service_keeps_its_replicas_aside(kind: str) -> None:
    made = world(nodes=2)
    made.add_service(service(replicas=3, kind=kind))
    made.run_until(START + 60)
    ref = Ref(kind, "web", "default")
    assert act(made, Suspend(policy="test", target=ref, reason=WHY)).result == "Done"
    assert act(made, Suspend(policy="test", target=ref, reason=WHY)).reason.code == "Unchanged"
    made.run_until(START + 120)
    assert pods(made) == []
    assert len(made.ledger.evictions) == 3
    snapshot = made.observe()
    row = snapshot.workloads.find(kind, "default", "web")
    assert row is not None
    workload = snapshot.workloads.objects[row]
    assert workload is not None
    assert workload.spec.replicas == 0
    assert workload.metadata.annotations["neaptide.io/suspended-replicas"] == "3"
    assert act(made, Resume(policy="test", target=ref, reason=WHY)).result == "Done"
    made.run_until(START + 180)
    assert len(running(made)) == 3


def test_a_suspended_job_stops_its_pods_and_goes_on_when_resumed() -> None:
    made = world(nodes=1)
    made.add_job(job(duration=100.0, parallelism=2, completions=2))
    made.run_until(START + 51)
    ref = Ref("Job", "batch", "default")
    assert act(made, Suspend(policy="test", target=ref, reason=WHY)).result == "Done"
    made.run_until(START + 300)
    assert pods(made) == []
    row = made.observe().workloads.find("Job", "default", "batch")
    assert row is not None
    workload = made.cluster.snapshot.workloads.objects[row]
    assert workload is not None
    assert workload.spec.suspend is True
    assert act(made, Resume(policy="test", target=ref, reason=WHY)).result == "Done"
    made.run_until(START + 600)
    assert [record.state for record in made.ledger.jobs] == ["Complete"]
    assert made.ledger.totals["lost_cpu_seconds"] == pytest.approx(100, abs=2)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_service_is_scaled_from_what_was_meant(kind: str) -> None:
    made = world(nodes=2)
    made.add_service(service(kind=kind, replicas=2))
    made.run_until(START + 120)
    target = Ref(kind, "web", "default")
    more = Scale(policy="test", target=target, reason=WHY, replicas=4, was=2)
    assert act(made, more).result == "Done"
    assert act(made, more).reason.code == "Conflict"
    made.run_until(START + 240)
    assert len(running(made)) == 4
    assert act(made, Scale(policy="test", target=target, reason=WHY, replicas=1, was=4)).result == "Done"
    made.run_until(START + 360)
    assert len(running(made)) == 1


def test_a_job_that_runs_fewer_pods_loses_no_work_and_ends() -> None:
    made = world(nodes=2)
    made.add_job(job(parallelism=4, completions=4, duration=600.0, checkpoint_seconds=60.0))
    made.run_until(START + 400)
    target = Ref("Job", "batch", "default")
    assert act(made, Scale(policy="test", target=target, reason=WHY, replicas=1, was=4)).result == "Done"
    made.run_until(START + 460)
    assert len(running(made)) == 1
    assert act(made, Scale(policy="test", target=target, reason=WHY, replicas=3, was=1)).result == "Done"
    made.run_until(START + 1200)
    assert not running(made)
    (record,) = made.ledger.jobs
    assert (record.state, record.succeeded) == ("Complete", 4)


def test_what_is_suspended_or_has_no_number_of_pods_is_not_scaled() -> None:
    made = world(nodes=1)
    made.add_service(service(kind="DaemonSet"))
    made.add_job(job(suspend=True))
    made.run_until(START + 60)
    codes = [
        act(made, Scale(policy="test", target=Ref(kind, name, "default"), reason=WHY, replicas=2, was=1)).reason.code
        for kind, name in (("DaemonSet", "web"), ("Job", "batch"))
    ]
    assert codes == ["NotScalable", "Suspended"]


def test_a_daemon_set_cannot_be_suspended() -> None:
    made = world(nodes=1)
    made.add_service(service("agent", kind="DaemonSet"))
    outcome = act(made, Suspend(policy="test", target=Ref("DaemonSet", "agent", "default"), reason=WHY))
    assert outcome.reason.code == "NotSuspendable"


def test_node_resources_make_room_for_reclaimed_work_and_can_be_removed() -> None:
    made = world(nodes=1)
    made.add_job(job(template=template(cpu="1", best_effort=True)))
    made.run_until(START + 60)
    assert running(made) == []
    (name,) = made.machines.by_name
    amounts: dict[str, int | None] = {"kubernetes.io/batch-cpu": 2000, "kubernetes.io/batch-memory": 2**31}
    target = Ref("Node", name)
    assert act(made, SetNodeResources(policy="test", target=target, reason=WHY, resources=amounts)).result == "Done"
    made.run_until(START + 80)
    assert len(running(made)) == 1
    act(made, SetNodeResources(policy="test", target=target, reason=WHY, resources=dict.fromkeys(amounts)))
    snapshot = made.observe()
    row = snapshot.resource_row("kubernetes.io/batch-cpu")
    assert row is not None
    assert snapshot.nodes.allocatable[row].sum() == 0
    assert "kubernetes.io/batch-cpu" not in made.machines.by_name[name].current().status.allocatable


def test_evictions_by_nodes_are_reported_once_by_workload() -> None:
    made = web()
    row = made.cluster.snapshot.pods.by_key[pods(made)[0]]
    made.cluster.stop(row, Cause("node", "BEMemoryEvict", "memory is short"))
    assert [(ref.kind, ref.name) for ref in made.disruptions()] == [("Deployment", "web")]
    assert made.disruptions() == []


def on_node(made: World, kind: type[AnyAction], **fields: Any) -> AnyAction:
    return kind(policy="test", target=made.cluster.snapshot.node_ref(0), reason=WHY, **fields)


def test_a_taint_replaces_one_of_its_key_and_effect_and_goes_by_its_key() -> None:
    made = world(nodes=1)
    for value in ("1", "2"):
        assert act(made, on_node(made, Taint, key="neaptide.io/draining", value=value)).result == "Done"
    assert made.cluster.snapshot.node_taints(0) == (o.Taint("neaptide.io/draining", "2", "NoSchedule"),)
    assert act(made, on_node(made, Untaint, key="neaptide.io/draining")).result == "Done"
    assert made.cluster.snapshot.node_taints(0) == ()


def test_a_cordoned_node_takes_no_pods_until_it_is_uncordoned() -> None:
    made = world(nodes=1)
    act(made, on_node(made, Cordon))
    made.add_service(service(replicas=1))
    made.run_until(START + 60)
    assert running(made) == []
    act(made, on_node(made, Uncordon))
    made.run_until(START + 120)
    assert len(running(made)) == 1


def test_a_bought_node_joins_under_the_name_of_the_plan_and_an_empty_one_goes() -> None:
    made = world(nodes=1)
    (offering,) = made.machines.offerings()
    buy = CreateNode(policy="test", target=Ref("Node", "instead-of-a"), reason=WHY, offering=offering)
    assert act(made, buy).result == "Done"
    made.run_until(START + 600)
    snapshot = made.cluster.snapshot
    new = [
        row for row in snapshot.nodes.indices().tolist() if snapshot.node_labels(row).get(FOR_LABEL) == "instead-of-a"
    ]
    assert len(new) == 1
    assert act(made, on_node(made, DeleteNode)).result == "Done"
    assert snapshot.nodes.indices().tolist() == new


def test_a_node_with_pods_is_not_given_back() -> None:
    made = world(nodes=1)
    made.add_service(service(replicas=1))
    made.run_until(START + 60)
    assert act(made, on_node(made, DeleteNode)).reason.code == "NotEmpty"
