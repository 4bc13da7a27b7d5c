"""The scheduling cycle in the simulator: it hears of everything, and nothing is lost between its snapshot and the world's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.simulator.worlds import START, job, pods, running, service, template, world

from neaptide.model import objects as o
from neaptide.model.scheduling_objects import PodGroup, PodGroupSpec
from neaptide.placement.cycle.gangs import POD_GROUP_LABEL
from neaptide.placement.cycle.profile import CycleProfile, read_cycle_profile
from neaptide.simulator.cycle_scheduler import CycleScheduler
from neaptide.simulator.demo import SHORT, cases
from neaptide.simulator.run import run
from neaptide.simulator.templates import Scale
from neaptide.simulator.world import World

PROFILE = CycleProfile()
BATCH: dict[str, Any] = {"labels": {"koordinator.sh/priority-class": "koord-batch"}, "spec": {"priority": 5500}}


def machine_agrees(made: World) -> None:
    """The machine's snapshot shows the same pods on the same nodes, with the same amounts, as the world's."""
    assert isinstance(made.scheduler, CycleScheduler)
    made.scheduler.cycle()
    mine, theirs = made.scheduler.machine.snapshot, made.cluster.snapshot
    assert mine.pods.by_key.keys() == theirs.pods.by_key.keys()
    assert mine.nodes.by_name.keys() == theirs.nodes.by_name.keys()

    def placed(snapshot: Any) -> dict[str, tuple[str, int, bool]]:
        table, names = snapshot.pods, snapshot.nodes.names
        return {
            key: (names[table.node[row]] if table.node[row] >= 0 else "", int(table.phase[row]), bool(table.ready[row]))
            for key, row in table.by_key.items()
        }

    assert placed(mine) == placed(theirs)
    for name, row in mine.nodes.by_name.items():
        other = theirs.nodes.by_name[name]
        assert mine.nodes.used[:4, row].tolist() == theirs.nodes.used[:4, other].tolist()
        assert mine.nodes.allocatable[:4, row].tolist() == theirs.nodes.allocatable[:4, other].tolist()
        assert (mine.nodes.used[:, row] <= mine.nodes.allocatable[:, row]).all()


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["service", "scale", "job", "node", "crash", "cordon", "resources"]),
        st.integers(0, 3),
        st.integers(1, 6),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(CHANGES)
def test_whatever_happens_the_machine_sees_what_the_world_has(changes: list[tuple[str, int, int]]) -> None:
    made = world(nodes=2, profile=PROFILE)
    for step, (what, which, amount) in enumerate(changes):
        names = sorted(made.machines.by_name)
        node = names[which % len(names)] if names else ""
        match what:
            case "service":
                scale = (Scale(20.0 * step + 30.0, amount + 2),)
                made.add_service(service(f"s{step}", replicas=amount, scale=scale))
            case "job":
                made.add_job(job(f"j{step}", duration=20.0 * amount, parallelism=amount, completions=amount))
            case "node":
                made.add_nodes(made.machines.pools[0].offerings[0], 1)
            case "crash" if node:
                made.machines.crash(node, recover_after=60.0 if amount % 2 else None)
            case "cordon" if node:
                made.machines.cordon(node, unschedulable=bool(amount % 2))
            case "resources" if node:
                made.machines.set_resources(node, {"kubernetes.io/batch-cpu": amount * 1000 if amount % 3 else None})
        made.run_until(made.now() + 20 * amount)
        machine_agrees(made)
    made.run_until(made.now() + 600)
    machine_agrees(made)


def test_a_service_preempts_batch_work_on_a_full_cluster() -> None:
    made = world(nodes=2, profile=PROFILE)
    made.add_job(job("batch", duration=3600.0, parallelism=8, completions=8, template=template(cpu="1", **BATCH)))
    made.run_until(START + 60)
    assert len(running(made, "batch")) == 8
    made.add_service(service("web", replicas=3, template=template(cpu="1", spec={"priority": 9500})))
    made.run_until(START + 120)
    assert len(running(made, "web")) == 3
    assert len(running(made, "batch")) == 5
    assert {each.by for each in made.ledger.evictions} == {"scheduler"}
    machine_agrees(made)


def test_a_gang_is_bound_together_or_not_at_all() -> None:
    made = world(nodes=1, profile=PROFILE)
    made.add_objects([PodGroup(o.Metadata(name="gang", namespace="default"), PodGroupSpec(6))])
    labels = {POD_GROUP_LABEL: "gang"}
    made.add_job(job("train", duration=100.0, parallelism=6, completions=6, template=template(cpu="1", labels=labels)))
    made.run_until(START + 60)
    assert len(pods(made, "train")) == 6
    assert running(made, "train") == []
    made.add_nodes(made.machines.pools[0].offerings[0], 1)
    made.run_until(START + 80)
    assert len(running(made, "train")) == 6


@pytest.mark.parametrize(
    "profile",
    [
        "filters: [NodeResourcesFit, LoadAware]\nscores: [LoadAware]",
        "filters: [NodeResourcesFit, {name: NodeInfoRt, thresholds: {load.1m: 0.8}}]\nscores: [NodeInfoRt]",
    ],
    ids=["LoadAware", "NodeInfoRt"],
)
def test_placement_by_load_reads_what_the_world_measures(profile: str) -> None:
    made = world(nodes=2, profile=read_cycle_profile(profile), tick=10.0)
    hot = template(cpu="1", usage=3.8)
    made.add_service(service("hot", replicas=1, template=hot))
    made.run_until(START + 120)
    snapshot = made.cluster.snapshot
    (key,) = running(made, "hot")
    warm_node = int(snapshot.pods.node[snapshot.pods.by_key[key]])
    made.add_service(service("cool", replicas=2, template=template(cpu="500m")))
    made.run_until(START + 180)
    nodes = {int(snapshot.pods.node[snapshot.pods.by_key[key]]) for key in running(made, "cool")}
    assert len(running(made, "cool")) == 2
    assert warm_node not in nodes


def test_the_mixed_day_is_scheduled_by_the_cycle_as_well_as_by_the_engine() -> None:
    scenario = replace(cases(1, SHORT)[2].scenario, duration=3 * 3600.0)
    assert scenario.scheduler == "cycle"
    cycle, engine = (run(replace(scenario, scheduler=which)).summary for which in ("cycle", "engine"))
    assert cycle.money is not None
    assert engine.money is not None
    assert cycle.jobs_finished >= engine.jobs_finished - 1
    assert np.isclose(cycle.money, engine.money, rtol=0.05)
    assert cycle.contention_minutes == 0
