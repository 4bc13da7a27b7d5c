"""CPU and memory of pods over time: contention, offline work under pressure, metrics."""

import numpy as np
import pytest
from tests.simulator.worlds import GIB, START, job, offering, pods, pool, running, service, template, world

from neaptide.model.offerings import Offering
from neaptide.simulator.cluster import Cause
from neaptide.simulator.curves import Points

BATCH = {"kubernetes.io/batch-cpu": 4000, "kubernetes.io/batch-memory": 16 * GIB}
WAVE = Points(((0, 0.5), (3599, 0.5), (3600, 2.0), (7199, 2.0), (7200, 0.5)))


def mixed() -> Offering:
    return Offering("large", "on-demand", "zone-a", 1.0, offering().allocatable | BATCH, offering().labels)


def test_services_that_want_more_than_the_node_has_share_by_request_and_the_shortage_is_counted() -> None:
    made = world(nodes=1)
    made.add_service(service("small", template=template(cpu="1", usage=2.0)))
    made.add_service(service("large", template=template(cpu="3", usage=2.0)))
    made.run_until(START + 601)
    used = {key: float(made.cluster.pods.given[row]) for key, row in made.cluster.snapshot.pods.by_key.items()}
    assert sorted(used.values()) == pytest.approx([1000, 3000])
    # Both from the second tick on; in the first minute the one that came second had what the first had left.
    assert made.ledger.totals["contention_minutes"] == pytest.approx(2 * 9 + 59 / 60, abs=0.05)


def test_a_limit_cuts_demand_and_that_is_no_contention() -> None:
    made = world(nodes=1)
    made.add_service(service(replicas=3, template=template(cpu="1", usage=2.0, limited=True)))
    made.run_until(START + 600)
    assert made.cluster.pods.given[made.cluster.meter.running()].tolist() == [1000.0] * 3
    assert made.ledger.totals["contention_minutes"] == 0


def test_best_effort_work_gets_what_services_leave_and_takes_longer() -> None:
    made = world(pool("general", mixed()), nodes=1)
    made.add_service(service(template=template(cpu="3", usage=1.0)))
    made.add_job(job(duration=600.0, template=template(cpu="2", best_effort=True)))
    made.run_until(START + 3600)
    made.close()
    (record,) = made.ledger.jobs
    assert record.state == "Complete"
    assert record.finished - record.started == pytest.approx(1200, abs=61)  # half of what it wanted
    assert made.ledger.totals["offline_cpu_seconds"] == pytest.approx(1200)
    assert made.ledger.totals["contention_minutes"] == 0


def test_a_job_slows_down_only_while_the_service_is_busy() -> None:
    made = world(pool("general", mixed()), nodes=1)
    made.add_service(service(template=template(cpu="2", usage=WAVE)))
    made.add_job(job(duration=7200.0, template=template(cpu="3", best_effort=True)))
    made.run_until(START + 4 * 3600)
    made.close()
    (record,) = made.ledger.jobs
    # For an hour it gets nothing: the service uses all four cores.
    assert record.finished - record.started == pytest.approx(7200 + 3600, abs=120)


def test_work_is_counted_to_the_second_between_ticks() -> None:
    made = world(nodes=1, tick=300.0)
    made.add_job(job(duration=130.0, after=17.0, template=template(cpu="500m", start_seconds=0.0)))
    made.run_until(START + 1000)
    made.close()
    (record,) = made.ledger.jobs
    assert record.finished - record.started == pytest.approx(130.0)
    assert made.ledger.totals["offline_cpu_seconds"] == pytest.approx(65.0)


def test_metrics_stand_in_the_snapshot_with_their_time() -> None:
    made = world(pool(system_cpu=100, system_memory=GIB), nodes=1)
    made.add_service(service(template=template(cpu="2", memory="4Gi", usage=0.5, memory_usage=0.25)))
    made.run_until(START + 125)
    snapshot = made.observe()
    (node,) = snapshot.nodes.indices()
    (pod,) = snapshot.pods.indices()
    assert (snapshot.pods.usage_cpu[pod], snapshot.pods.usage_memory[pod]) == (1000, GIB)
    assert (snapshot.nodes.usage_cpu[node], snapshot.nodes.usage_memory[node]) == (1100, 2 * GIB)
    assert snapshot.nodes.usage_time[node] == START + 120


@pytest.mark.parametrize("state", ["missing", "stale"])
def test_metrics_can_be_missing_or_stale(state: str) -> None:
    made = world(nodes=2)
    made.add_service(service(replicas=2, template=template(cpu="3", usage=Points(((0, 0.0), (86_400, 1.0))))))
    made.run_until(START + 90)
    before = made.cluster.snapshot.nodes.usage_cpu[0]
    made.unmeasured[made.cluster.snapshot.nodes.names[0]] = state
    made.run_until(START + 600)
    snapshot = made.observe()
    (pod,) = snapshot.pods_on(0)
    if state == "missing":
        assert np.isnan([snapshot.nodes.usage_cpu[0], snapshot.nodes.usage_time[0], snapshot.pods.usage_cpu[pod]]).all()
    else:
        assert (snapshot.nodes.usage_cpu[0], snapshot.nodes.usage_time[0]) == (before, START + 60)
    assert snapshot.nodes.usage_time[1] == START + 600


def test_pods_differ_by_their_spread() -> None:
    made = world(nodes=3)
    made.add_service(service(replicas=9, template=template(cpu="1", usage=0.5, spread=0.2)))
    made.run_until(START + 61)
    demand = made.cluster.pods.demand[made.cluster.meter.running()]
    assert 400 <= demand.min() < demand.max() <= 600


def test_what_a_stopped_pod_used_others_get_before_the_next_tick() -> None:
    made = world(pool("general", mixed()), nodes=1, tick=3600.0)
    made.add_service(service("web", template=template(cpu="4")))
    made.run_until(START + 10)
    made.cluster.stop(made.cluster.snapshot.pods.by_key[pods(made)[0]], Cause("test", "Test", ""))
    made.add_job(job(template=template(cpu="1", best_effort=True), after=12.5))
    made.run_until(START + 13)
    assert running(made, "batch") == []
    made.run_until(START + 16)
    assert len(running(made, "batch")) == 1
