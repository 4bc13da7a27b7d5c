"""Turns of the cycle as a process takes them: what is said while another leads, and usage as the cluster tells it."""

from weakref import WeakSet

import pytest
from tests.builders import node
from tests.placement.cycle.api import pod

from neaptide.kube.scheduler.turns import Turns
from neaptide.kube.usage.node_infos import Infos
from neaptide.kube.usage.readings import Reading, Readings
from neaptide.model import renewal
from neaptide.model.node_info import NodeInfo
from neaptide.model.objects import Metadata
from neaptide.placement.cycle import events
from neaptide.placement.cycle.actions import Bind, Emit, SetUnscheduled
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile, read_cycle_profile

NOW = 1_800_000_000.0


def test_a_binding_is_announced_though_the_lease_was_lost_since() -> None:
    turns = Turns(CycleProfile(), clock=lambda: NOW)
    (bind,) = turns.take([events.Listed((node("a"), pod("p", cpu="1"), pod("q", cpu="100")))], leading=True).actions[:1]
    assert isinstance(bind, Bind)
    later = turns.take([events.Bound("default/p", bind.pod.uid), events.Applied(pod("r", cpu="1"))], leading=False)
    assert [(type(each), each.reason) for each in later.actions if isinstance(each, Emit)] == [(Emit, "Scheduled")]
    assert len(later.actions) == 1  # nothing is bound


def test_jobs_that_come_and_go_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has labels, and so a class, of its own."""
    monkeypatch.setattr(renewal, "_LIGHT", 100)
    turns = Turns(CycleProfile(), clock=lambda: NOW)
    turns.take([events.Listed((node("a"), pod("waits", cpu="100")))], leading=True)
    weights, machines = [], WeakSet[SchedulingCycle]()
    for each in range(300):
        name = f"job-{each}"
        told = turns.take([events.Applied(pod(name, cpu="1", labels={"job": name}))], leading=True)
        assert [one.node for one in told.actions if isinstance(one, Bind)] == ["a"]
        shown = pod(name, cpu="1", labels={"job": name}, node="a")
        turns.take([events.Bound(f"default/{name}", shown.metadata.uid), events.Applied(shown)], leading=True)
        turns.take([events.Removed("Pod", name, "default")], leading=True)
        weights.append(renewal.weight(turns.cycle.snapshot))
        machines.add(turns.cycle)
        assert len(machines) == 1
    assert max(weights) < 200
    assert [each.key for each in turns.cycle.waiting()] == ["default/waits"]


def test_usage_that_a_source_reads_decides_and_wakes_whom_a_hot_node_refused() -> None:
    now = [NOW]
    profile = read_cycle_profile("filters: [NodeResourcesFit, LoadAware]\nscores: [LoadAware]")
    turns = Turns(profile, clock=lambda: now[0])
    hot = Readings(nodes={"a": Reading(9_000.0, 0.0, NOW)})
    first = turns.take([events.Listed((node("a", cpu="10"), pod("p", cpu="1"))), hot], leading=True).actions
    assert any(isinstance(each, SetUnscheduled) and "cpu usage exceed threshold" in each.message for each in first)
    now[0] += 30
    cool = Readings(nodes={"a": Reading(1_000.0, 0.0, now[0])})
    assert any(isinstance(each, Bind) for each in turns.take([cool], leading=True).actions)


def test_real_time_data_decide_as_soon_as_agents_tell_them_and_are_not_believed_for_ever() -> None:
    now = [NOW]
    turns = Turns(
        read_cycle_profile("filters: [NodeResourcesFit, NodeInfoRt]\nscores: [NodeInfoRt]"), clock=lambda: now[0]
    )
    busy = NodeInfo(Metadata(name="a"), NOW, load={"5m": 3.0})
    first = turns.take([Infos({"a": busy}), events.Listed((node("a"), pod("p", cpu="1")))], leading=True).actions
    assert any(isinstance(each, SetUnscheduled) and "too much load 5m" in each.message for each in first)
    now[0] += 20
    calm = NodeInfo(Metadata(name="a"), now[0], load={"5m": 0.5})
    assert any(isinstance(each, Bind) for each in turns.take([Infos({"a": calm})], leading=True).actions)
    now[0] += 1
    turns.take([Infos({"a": NodeInfo(Metadata(name="a"), now[0], load={"5m": 3.0})})], leading=True)
    now[0] += 3600
    assert any(isinstance(each, Bind) for each in turns.take([events.Applied(pod("q"))], leading=True).actions)
