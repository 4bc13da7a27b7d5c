"""Virtual nodes in the simulator: the policy `burst` from end to end, what starts there and when, and what it costs."""

from typing import Any

import pytest
import yaml
from tests.simulator.worlds import NO_BUYING, START, job, pods, running, service, template, world

from neaptide.loop import Cycle
from neaptide.model import objects as o
from neaptide.model.actions import Outcome, Reason, Ref, Tolerate
from neaptide.model.problems import FieldError
from neaptide.model.virtual_names import TAINT
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse
from neaptide.simulator.virtual import VirtualNodeSettings
from neaptide.simulator.world import World

HOUR = 3600.0
PRICE = 4 * 0.02772 + 8 * 0.003456
"""Per hour, of 4 vCPU and 8 GiB at the tariff eci."""
OFFERING = {"instance_type": "large", "price_per_hour": 0.4, "allocatable": {"cpu": 4, "memory": "16Gi", "pods": 50}}
FULL = {"name": "web", "cpu": 4, "memory": "8Gi", "priority": 10, "scale": [{"after": HOUR, "replicas": 0}]}
"""A service that fills the only node for an hour."""
BURST = {"waitingCostPerHour": 0.01, "nodeStartSeconds": None, "homeStableSeconds": 120}
VIRTUAL = o.Toleration(key=TAINT, operator="Exists", effect="NoSchedule")


def simulated(burst: dict[str, Any], *, hours: float = 3, **fields: Any) -> tuple[Result, list[Outcome]]:
    """A run of a full node beside a virtual one, under the policy; what it did."""
    done: list[Outcome] = []

    def record(cycle: Cycle) -> None:
        done.extend(each for each in cycle.outcomes if each.result == "Done")

    document = {
        "duration": hours * HOUR,
        "pools": [{"name": "general", "offerings": [OFFERING | {"nodes": 1}]}],
        "virtual_nodes": [{"name": "virtual-1"}],
        "services": [FULL],
        "autoscaler": NO_BUYING,
        "policies": [{"name": "burst", "mode": "Enforce", "spec": BURST | burst}],
    }
    return run(parse(yaml.safe_dump(document | fields)), record=record), done


def of(outcomes: list[Outcome], kind: str) -> list[str]:
    """The workloads of what was done, by the kind of the action."""
    return [each.action.target.name.rsplit("-", 1)[0] for each in outcomes if type(each.action).__name__ == kind]


@pytest.mark.parametrize("scheduler", ["engine", "cycle"])
def test_a_job_that_the_cluster_cannot_hold_bursts_is_billed_and_ends_there(scheduler: str) -> None:
    work = {"name": "batch", "after": 600, "cpu": 3, "memory": "6Gi", "duration": 1200, "parallelism": 2}
    result, done = simulated({"comeHome": False}, jobs=[work], scheduler=scheduler)
    assert of(done, "Tolerate") == ["batch", "batch"]
    assert result.summary.jobs_finished == 1
    assert [(each.workload.name, each.node, each.size) for each in result.virtual_bills] == [
        ("batch", "virtual-1", "4 vCPU and 8 GiB")
    ] * 2
    for bill in result.virtual_bills:
        work_and_start = bill.end - bill.start
        assert 1200 < work_and_start < 1200 + 2 * 30 + 20 + 5 + 1  # a start takes at most double the usual
        assert bill.dollars == pytest.approx(PRICE * (bill.end - bill.start) / 3600, rel=1e-3)
    assert result.summary.virtual_pods == 2
    assert result.summary.virtual_money == pytest.approx(sum(each.dollars or 0 for each in result.virtual_bills))
    assert result.summary.money == pytest.approx(3 * 0.4 + (result.summary.virtual_money or 0))


@pytest.mark.parametrize("scheduler", ["engine", "cycle"])
def test_a_pod_comes_home_when_a_real_node_has_had_room_for_it_and_its_bill_ends(scheduler: str) -> None:
    api = {"name": "api", "cpu": 3, "memory": "6Gi"}
    result, done = simulated({"services": True}, services=[FULL, api], scheduler=scheduler)
    assert of(done, "Tolerate") == of(done, "Evict")
    assert len(done) == 2
    (bill,) = result.virtual_bills
    assert bill.workload.name == "api"
    assert HOUR < bill.end - result.start < HOUR + 600
    at_home = result.timeline.time > bill.end + 120
    assert (result.timeline.running[at_home].sum(axis=1) == 1).all()
    assert (result.timeline.money_per_hour[at_home] == 0.4).all()


def test_a_budget_holds_pods_back_until_there_is_room_at_home() -> None:
    work = {"name": "batch", "cpu": 3, "memory": "6Gi", "duration": 1200, "parallelism": 2}
    budget = {"concurrent": 1, "whenSpent": "Queue"}
    result, done = simulated({"budgets": [budget], "comeHome": False}, jobs=[work], hours=2)
    assert of(done, "Tolerate") == ["batch", "batch"]  # the second when the first has ended
    first, second = sorted(result.virtual_bills, key=lambda each: each.start)
    assert second.start >= first.end


def test_where_nothing_bursts_nothing_is_paid_for_virtual_nodes() -> None:
    result, done = simulated({})
    assert not done
    assert not result.virtual_bills
    assert result.summary.virtual_money == 0
    assert result.timeline.nodes.sum(axis=1).max() == 1  # a virtual node is no node that is bought


# -- what a virtual node does ------------------------------------------------------------------------------------------


def beside(nodes: int = 0, **fields: Any) -> World:
    made = world(nodes=nodes)
    made.add_virtual_node(VirtualNodeSettings(name="virtual-1", **fields))
    return made


def test_starts_keep_to_the_providers_rate() -> None:
    made = beside(start_seconds=0, rate=0.1, burst=2)
    spec = {"tolerations": (VIRTUAL,)}
    made.add_service(service(replicas=5, template=template(spec=spec, labels={"app": "web"})))
    counts = []
    for seconds in (5, 15, 25, 35):
        made.run_until(START + seconds)
        counts.append(len(running(made)))
    assert counts == [2, 3, 4, 5]


def test_every_pod_pulls_its_image_there() -> None:
    made = beside(start_seconds=0)
    made.add_job(job(template=template(spec={"tolerations": (VIRTUAL,)}, pull_seconds=50.0), completions=2))
    made.run_until(START + 400)
    first, second = made.ledger.virtual_bills
    assert [round(each.end - each.start) for each in (first, second)] == [151, 151]


def test_what_no_size_holds_has_no_price_and_then_the_money_is_unknown() -> None:
    made = beside()
    made.add_job(job(template=template(cpu="100", spec={"tolerations": (VIRTUAL,)})))
    made.run_until(START + 300)
    assert [(each.size, each.dollars) for each in made.ledger.virtual_bills] == [("", None)]


def test_what_still_runs_at_the_end_is_billed_up_to_there() -> None:
    made = beside()
    made.add_service(service(template=template(cpu="4", memory="8Gi", spec={"tolerations": (VIRTUAL,)})))
    made.run_until(START + HOUR)
    made.close()
    (bill,) = made.ledger.virtual_bills
    assert bill.dollars == pytest.approx(PRICE, rel=1e-3)


def test_daemon_sets_have_no_pods_there() -> None:
    made = beside(nodes=1)
    made.add_service(service(kind="DaemonSet"))
    made.run_until(START + 100)
    assert len(running(made)) == 1


def test_beyond_the_stock_pods_wait_on_the_node_and_are_paid_for_from_their_turn() -> None:
    made = beside(start_seconds=0, stock=2)
    spec = {"tolerations": (VIRTUAL,)}
    made.add_job(job(template=template(cpu="1", spec=spec), duration=100, parallelism=5, completions=5))
    counts = []
    for seconds in (90, 190, 290):
        made.run_until(START + seconds)
        table = made.cluster.snapshot.pods
        assert (table.node[table.indices()] >= 0).all(), "they have their node"
        counts.append(len(running(made)))
    assert counts == [2, 2, 1]
    made.run_until(START + 400)
    starts = sorted(each.start - START for each in made.cluster.ledger.virtual_bills)
    assert starts == pytest.approx([0, 0, 101, 101, 202], abs=10)
    assert all(each.end - each.start < 110 for each in made.cluster.ledger.virtual_bills)


def test_spot_capacity_that_is_taken_back_ends_its_pods_and_their_job_goes_on_with_others() -> None:
    made = beside(start_seconds=0, spot=True, reclaim_seconds=300, notice_seconds=60)
    spec = {"tolerations": (VIRTUAL,)}
    made.add_job(
        job(template=template(cpu="1", spec=spec), duration=600, checkpoint_seconds=60, parallelism=4, completions=4)
    )
    made.run_until(START + 2 * HOUR)
    lost = made.cluster.ledger.evictions
    assert {(each.by, each.code) for each in lost} == {("cloud", "BidFailed")}
    bills = made.cluster.ledger.virtual_bills
    assert not pods(made), "all four have finished"
    assert len(bills) == 4 + len(lost)
    assert min(each.time - START for each in lost) >= 60, "nobody ends before the notice is over"


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param("bound", Reason("Bound", "it is on node {node}"), id="a pod that has a node"),
        pytest.param("waits", Reason("Unchanged", "it has this toleration already"), id="the same again"),
    ],
)
def test_a_toleration_is_given_once_and_only_to_pods_that_wait(pod: str, expected: Reason) -> None:
    made = beside(nodes=1 if pod == "bound" else 0, pods=1)
    spec = {"tolerations": (VIRTUAL,)} if pod == "waits" else {}
    made.add_job(job(template=template(cpu="4", spec=spec), duration=1000, parallelism=2, completions=2))
    made.run_until(START + 60)
    table = made.cluster.snapshot.pods
    wanted = pod == "waits"
    key = next(each for each in pods(made) if (table.node[table.by_key[each]] < 0) == wanted)
    action = Tolerate(
        policy="burst",
        target=Ref("Pod", key.partition("/")[2], "default"),
        reason=Reason("Test", ""),
        key=TAINT,
        effect="NoSchedule",
    )
    (outcome,) = made.act([action])
    node = next(iter(made.machines.by_name), "")
    assert outcome.reason == Reason(expected.code, expected.message.format(node=node))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cpu": "-1"}, "virtual_nodes[0].cpu"),
        ({"tariff": "own"}, "virtual_nodes[0].tariff"),
        ({"rate": 0}, "virtual_nodes[0].rate"),
        ({"stock": 0}, "virtual_nodes[0].stock"),
        ({"reclaim_seconds": 0}, "virtual_nodes[0].reclaim_seconds"),
    ],
)
def test_what_a_virtual_node_cannot_be_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as error:
        simulated({}, virtual_nodes=[{"name": "virtual-1"} | fields])
    assert error.value.field == field
