"""What holds in every world at every time, whatever goes wrong; and that a seed decides everything."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict
from tests.simulator.stand_in import FirstFit
from tests.simulator.worlds import START, job, offering, pool, service, template, world

from neaptide.simulator.autoscaler import AutoscalerSettings
from neaptide.simulator.cluster import Cause
from neaptide.simulator.machines import CloudSettings
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse
from neaptide.simulator.world import World

CLOUD = CloudSettings(provision_seconds=50, spot_interruptions_per_hour=0.5)
JOB_CPU = 0.7
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["evict", "crash", "recovering crash", "interrupt", "suspend", "resume", "scale", "give back"]),
        st.integers(0, 50),
    ),
    max_size=25,
)


def lively(seed: int, *, checkpoint: float, failure_rate: float) -> World:
    spot = pool("spot", offering(capacity_type="spot", pool="spot"), maximum=6, system_cpu=150)
    made = world(
        pool(maximum=3, system_cpu=100),
        spot,
        nodes=2,
        buying=True,
        seed=seed,
        cloud=CLOUD,
        autoscaler=AutoscalerSettings(empty_seconds=300),
    )
    made.add_service(service("web", 5, template=template(cpu="700m", usage=1.5, labels={"app": "web"})))
    made.add_service(service("db", 2, "StatefulSet"))
    made.add_service(service("agent", kind="DaemonSet", template=template(cpu="100m")))
    for number in range(8):
        made.add_job(
            job(
                f"job-{number}",
                400.0,
                after=100.0 * number,
                parallelism=1 + number % 3,
                completions=1 + number % 4,
                template=template(cpu="700m"),
                checkpoint_seconds=checkpoint,
                failure_rate=failure_rate,
            )
        )
    return made


def disturb(made: World, what: str, which: int) -> None:
    table, cause = made.cluster.snapshot.pods, Cause("test", "Test", "")
    pods, names = table.indices().tolist(), sorted(made.machines.by_name)
    jobs = sorted(made.jobs)
    if what == "evict" and pods:
        made.cluster.stop(pods[which % len(pods)], cause)
    elif what in ("suspend", "resume") and jobs:
        controller = made.jobs[jobs[which % len(jobs)]]
        if what == "suspend":
            controller.suspend(cause)
        else:
            controller.resume()
    elif what == "scale":
        controller_ = made._services["Deployment", "default", "web"]
        controller_.scale(which % 9)  # type: ignore[union-attr] # a Deployment's
    elif names:
        name = names[which % len(names)]
        if what == "interrupt":
            made.machines.interrupt(name)
        elif what == "give back":
            made.machines.delete(name)
        else:
            made.machines.crash(name, recover_after=100.0 if what == "recovering crash" else None)


def check(made: World) -> None:
    """Pods are in one place, nodes give no more CPU than they have, and what is not placed is pending."""
    cluster, snapshot = made.cluster, made.cluster.snapshot
    table, rows = snapshot.pods, snapshot.pods.indices()
    placed = Counter(pod for node in snapshot.nodes.indices() for pod in snapshot.pods_on(int(node)))
    assert set(placed) == {int(pod) for pod in rows if table.node[pod] >= 0}
    assert set(placed.values()) <= {1}
    assert set(cluster.pending) == {int(pod) for pod in rows if table.node[pod] < 0}
    assert set(cluster.controllers) == set(rows.tolist())
    used = np.bincount(table.node[cluster.meter.running()], cluster.pods.given[cluster.meter.running()], table.rows)
    for node in snapshot.nodes.indices():
        room = cluster.nodes.cpu[node] - cluster.nodes.system_cpu[node] if cluster.nodes.up[node] else 0.0
        assert used[node] <= room + 1e-6
        assert used[node] + cluster.nodes.idle[node] == pytest.approx(room) or not cluster.nodes.up[node]
    assert (cluster.pods.given[rows] <= cluster.pods.demand[rows] + 1e-9).all()
    assert sum(made.machines.sizes) == len(made.machines.by_name) + len(made.machines.on_the_way)
    assert set(made.machines.by_name) == set(snapshot.nodes.by_name)


@settings(max_examples=40)
@given(st.integers(0, 2**32), EVENTS, st.sampled_from([0.0, 60.0]), st.sampled_from([0.0, 0.3]))
def test_nothing_is_lost_or_made_up(
    seed: int, events: list[tuple[str, int]], checkpoint: float, failure_rate: float
) -> None:
    made = lively(seed, checkpoint=checkpoint, failure_rate=failure_rate)
    for what, which in events:
        made.run_until(made.now() + 7.0 * which)
        disturb(made, what, which)
        check(made)
    made.run_until(made.now() + 1200)
    check(made)
    alive = dict(made.jobs)
    made.close()

    # Every job is accounted for once.
    due = [f"job-{number}" for number in range(8) if START + 100.0 * number <= made.now()]
    assert sorted(record.name for record in made.ledger.jobs) == due
    for record in made.ledger.jobs:
        assert (record.state == "Complete") == (record.succeeded == record.completions)

    # All CPU that offline work got is in what succeeded, what is under way or saved, or what was lost.
    pods = made.cluster.pods
    rows = [row for row in made.cluster.snapshot.pods.indices() if pods.offline[row]]
    under_way = sum(float(pods.progress[row]) for row in rows if np.isnan(made.cluster.snapshot.pods.deleted[row]))
    waiting = sum(progress for controller in alive.values() for _, progress in controller._open)
    succeeded = sum(record.succeeded for record in made.ledger.jobs) * 400.0
    kept = (succeeded + under_way + waiting) * JOB_CPU
    abandoned = sum(1 for record in made.ledger.jobs if record.state == "Failed")
    totals = made.ledger.totals
    if not abandoned:
        assert totals["offline_cpu_seconds"] == pytest.approx(kept + totals["lost_cpu_seconds"], rel=1e-6, abs=1e-3)

    # Money is what the nodes' time costs, each node billed once.
    assert len({bill.node for bill in made.ledger.bills}) == len(made.ledger.bills)
    for bill in made.ledger.bills:
        assert bill.dollars == pytest.approx(max(bill.end - bill.start, 60 * (bill.end > bill.start)) / 3600, abs=3e-4)


SCENARIO = """
name: lively
duration: 14400
tick: 60
seed: {seed}
loop_period: 60
pools:
  - name: general
    maximum: 8
    offerings:
      - {{instance_type: m5.xlarge, price_per_hour: 0.192, allocatable: {{cpu: 4, memory: 15Gi, pods: 58}}, nodes: 2}}
  - name: spot
    maximum: 8
    offerings:
      - {{instance_type: m5.xlarge, capacity_type: spot, price_per_hour: 0.07, allocatable: {{cpu: 4, memory: 15Gi, pods: 58}}}}
services:
  - {{name: web, replicas: 6, cpu: 700m, memory: 1Gi, usage: {{kind: series, name: nyc_taxi, peak: 1.2}}, spread: 0.2, max_unavailable: 1}}
arrivals:
  - {{name: fit, per_hour: 20, cpu: 500m, memory: 1Gi, duration: 900, failure_rate: 0.1}}
cron_jobs:
  - {{name: report, schedule: "*/30 * * * *", cpu: "1", memory: 1Gi, duration: 300}}
faults:
  - {{kind: crash, after: 3000, lasts: 300}}
  - {{kind: metrics-missing, after: 5000, nodes: 2, lasts: 900}}
  - {{kind: interrupt, after: 7000, pool: spot}}
cloud: {{spot_interruptions_per_hour: 0.3}}
"""


def fingerprint(result: Result) -> dict[str, Any]:
    columns = {name: column.tobytes() for name, column in asdict(result.timeline).items()}
    records = msgspec.json.encode((result.evictions, result.waits, result.jobs, result.bills))
    return columns | {"records": records}


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    runs = [fingerprint(run(parse(SCENARIO.format(seed=seed)), placer=FirstFit)) for seed in (7, 7, 8)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


DIGEST = """
import hashlib, sys
from tests.simulator.test_conservation import SCENARIO, fingerprint
from neaptide.simulator.run import run
from neaptide.simulator.scenario import parse
text = SCENARIO.format(seed=5) + "policies: [{name: reclaim, mode: Enforce}]"
print(hashlib.sha256(repr(sorted(fingerprint(run(parse(text))).items())).encode()).hexdigest())
"""


def test_another_process_with_another_order_of_hashes_gives_the_same_run() -> None:
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_run_adds_up() -> None:
    result = run(parse(SCENARIO.format(seed=3)), placer=FirstFit)
    timeline, summary = result.timeline, result.summary
    assert len(timeline.time) == 241
    assert timeline.offline_cpu_seconds.sum() == pytest.approx(summary.offline_cpu_seconds)
    assert timeline.evictions.sum() == summary.evictions == len(result.evictions)
    assert timeline.jobs_finished.sum() == summary.jobs_finished
    assert timeline.cpu_used.sum(axis=1) == pytest.approx(timeline.cpu_used_by_qos.sum(axis=1))
    assert (timeline.cpu_used.sum(axis=1) <= timeline.cpu_capacity + 1e-6).all()
    assert summary.money == pytest.approx(sum(bill.dollars or 0.0 for bill in result.bills))
    # Nodes of the timeline cost what it says, to the minute of a tick.
    by_timeline = timeline.money_per_hour[:-1].sum() * 60 / 3600
    assert summary.money == pytest.approx(by_timeline, rel=0.05)
    states = Counter(record.state for record in result.jobs)
    assert states["Complete"] == summary.jobs_finished > 50
    assert sum(states.values()) == summary.jobs_arrived
