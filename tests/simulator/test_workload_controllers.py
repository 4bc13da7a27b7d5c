"""Deployments, StatefulSets, DaemonSets, Jobs and CronJobs in the simulated world."""

from typing import Any

import pytest
from msgspec import structs
from tests.simulator.worlds import START, job, pods, pool, running, service, template, world

from neaptide.model import objects as o
from neaptide.model.problems import FieldError
from neaptide.simulator.cluster import Cause
from neaptide.simulator.templates import CronJob, Scale

CAUSE = Cause("test", "Test", "because")


def test_a_deployment_has_its_replicas_running_under_a_replica_set() -> None:
    made = world(nodes=1)
    made.add_service(service(replicas=3))
    made.run_until(START + 60)
    assert len(running(made)) == 3
    snapshot = made.observe()
    owner = int(snapshot.pods.owner[snapshot.pods.indices()[0]])
    assert snapshot.workloads.refs[owner].kind == "ReplicaSet"
    root = snapshot.workloads.objects[snapshot.workloads.root(owner)]
    assert root is not None
    assert (root.kind, root.metadata.name, root.status.ready_replicas) == ("Deployment", "web", 3)


def test_an_evicted_pod_is_replaced_at_once_and_leaves_after_its_shutdown() -> None:
    made = world(nodes=2)
    made.add_service(service(replicas=2))
    made.run_until(START + 60)
    before = pods(made)
    assert made.cluster.stop(made.cluster.snapshot.pods.by_key[before[0]], CAUSE)
    assert len(pods(made)) == 3
    made.run_until(START + 70)
    assert len(running(made)) == 2
    assert before[0] not in pods(made)


def test_replicas_follow_the_changes_of_scale_and_pending_pods_go_first() -> None:
    made = world(nodes=1)  # room for 4
    made.add_service(service(replicas=2, scale=(Scale(100, 6), Scale(200, 4), Scale(300, 0))))
    made.run_until(START + 150)
    assert (len(running(made)), len(pods(made))) == (4, 6)
    made.run_until(START + 201)
    assert (len(running(made)), len(pods(made))) == (4, 4)
    made.run_until(START + 310)
    assert pods(made) == []


def test_scaling_down_takes_the_pod_with_the_lowest_deletion_cost() -> None:
    made = world(nodes=1)
    costly = structs.replace(template(), annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"})
    made.add_service(service("web", replicas=2, scale=(Scale(50, 1),)))
    made.add_service(service("cheap", replicas=2, template=costly, scale=(Scale(50, 1),)))
    made.run_until(START + 60)
    assert (len(running(made, "web")), len(running(made, "cheap"))) == (1, 1)


def test_a_stateful_set_starts_its_pods_in_order_and_ends_the_last_first() -> None:
    made = world(nodes=1)
    made.add_service(service("db", 3, "StatefulSet", template=template(start_seconds=10.0), scale=(Scale(100, 1),)))
    seen = []
    for second in range(0, 60, 5):
        made.run_until(START + second)
        seen.append(pods(made))
    assert seen[0] == ["default/db-0"]
    assert ["default/db-0", "default/db-1"] in seen
    assert seen[-1] == ["default/db-0", "default/db-1", "default/db-2"]
    made.run_until(START + 100)
    made.run_until(START + 101)
    assert len(pods(made)) == 3  # the last is going, the second not yet
    made.run_until(START + 110)
    assert pods(made) == ["default/db-0"]


def test_a_stateful_sets_pod_returns_under_its_name_once_it_is_gone() -> None:
    made = world(nodes=1)
    made.add_service(service("db", 2, "StatefulSet"))
    made.run_until(START + 60)
    made.cluster.stop(made.cluster.snapshot.pods.by_key["default/db-0"], CAUSE)
    assert len(pods(made)) == 2
    made.run_until(START + 70)
    assert running(made) == ["default/db-0", "default/db-1"]


def test_a_daemon_set_has_one_pod_on_each_node_that_admits_it_also_on_new_ones() -> None:
    tainted = pool("tainted", taints=(o.Taint(key="gpu", value="", effect="NoSchedule"),))
    made = world(pool(), tainted, nodes=2)
    made.add_service(service("agent", kind="DaemonSet", template=template(cpu="100m")))
    made.add_nodes(made.machines.pools[1].offerings[0], 1)
    made.add_nodes(made.machines.pools[0].offerings[0], 1)
    made.run_until(START + 60)
    assert len(running(made)) == 3


def test_a_daemon_sets_pod_comes_when_its_node_has_room() -> None:
    made = world(nodes=1)
    made.add_service(service("web", 4, scale=(Scale(100, 3),)))
    made.run_until(START + 10)
    made.add_service(service("agent", kind="DaemonSet", template=template(cpu="100m")))
    made.run_until(START + 90)
    assert running(made, "agent") == []
    made.run_until(START + 300)
    assert len(running(made, "agent")) == 1


def test_a_job_runs_its_completions_with_its_parallelism_and_ends() -> None:
    made = world(nodes=1)
    made.add_job(job(duration=100.0, parallelism=2, completions=5, after=30.0))
    made.run_until(START + 40)
    assert len(running(made)) == 2
    made.run_until(START + 1000)
    made.close()
    (record,) = made.ledger.jobs
    assert (record.state, record.succeeded, record.arrived) == ("Complete", 5, START + 30)
    assert record.finished == pytest.approx(START + 30 + 3 * 102, abs=4)
    assert made.ledger.totals["offline_cpu_seconds"] == pytest.approx(500)
    assert pods(made) == []


def test_a_suspended_job_starts_nothing_until_it_is_resumed_and_its_wait_counts_from_its_arrival() -> None:
    made = world(nodes=1)
    made.add_job(job(suspend=True))
    made.run_until(START + 600)
    assert pods(made) == []
    made.jobs["default", "batch"].resume()
    made.run_until(START + 800)
    (wait,) = made.ledger.waits
    assert wait.seconds == pytest.approx(601, abs=1)


@pytest.mark.parametrize(
    ("checkpoint", "lost", "total"),
    [(0.0, 60.0, 160.0), (25.0, 10.0, 110.0)],
    ids=["without checkpoints all is done again", "a checkpoint keeps its whole multiples"],
)
def test_a_stopped_jobs_pod_loses_work(checkpoint: float, lost: float, total: float) -> None:
    made = world(nodes=1)
    made.add_job(job(duration=100.0, checkpoint_seconds=checkpoint))
    made.run_until(START + 61)
    made.cluster.stop(made.cluster.snapshot.pods.by_key[pods(made)[0]], CAUSE)
    made.run_until(START + 400)
    made.close()
    assert [record.state for record in made.ledger.jobs] == ["Complete"]
    assert made.ledger.totals["lost_cpu_seconds"] == pytest.approx(lost, abs=1.1)
    assert made.ledger.totals["offline_cpu_seconds"] == pytest.approx(total, abs=1.1)


def test_failures_are_tried_again_with_back_off_until_the_limit() -> None:
    made = world(nodes=1)
    made.add_job(job(duration=50.0, failure_rate=1.0, backoff_limit=3))
    made.run_until(START + 1000)
    made.close()
    (record,) = made.ledger.jobs
    assert (record.state, record.failures, record.succeeded) == ("Failed", 4, 0)
    assert record.finished - record.arrived > 10 + 20 + 40
    assert pods(made) == []


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        ("Allow", {"Complete": 2, "Running": 3}),
        ("Forbid", {"Complete": 1, "Running": 1}),
        ("Replace", {"Cancelled": 4, "Running": 1}),
    ],
    ids=str,
)
def test_a_cron_job_follows_its_concurrency_policy(policy: Any, states: dict[str, int]) -> None:
    made = world(nodes=2)
    made.add_cron_job(
        CronJob(name="report", schedule="*/10 * * * *", job=job("report", 1500.0), concurrency_policy=policy)
    )
    made.run_until(START + 3100)
    made.close()
    found = [record.state for record in made.ledger.jobs]
    assert {state: found.count(state) for state in set(found)} == states
    assert {record.name for record in made.ledger.jobs} <= {
        f"report-{int(START // 60) + 10 * number}" for number in range(1, 6)
    }


@pytest.mark.parametrize(
    ("field", "fields"),
    [("schedule", {"schedule": "every day"}), ("time_zone", {"schedule": "0 0 * * *", "time_zone": "Mars/Olympus"})],
    ids=["a schedule that is none", "a time zone that there is not"],
)
def test_a_cron_job_that_cannot_be_read_is_refused(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(FieldError) as error:
        world().add_cron_job(CronJob(name="report", job=job(), **fields))
    assert error.value.field == field
