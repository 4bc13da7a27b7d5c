"""The scheduler's cycle: order, back-off of classes, and what makes it try again."""

import pytest
from tests.simulator.stand_in import FirstFit
from tests.simulator.worlds import START, job, pods, pool, running, service, template, world

from neaptide.model.objects import SchedulingGate
from neaptide.simulator.scheduling import Scheduler
from neaptide.simulator.templates import Scale
from neaptide.simulator.world import World


def asked(made: World) -> list[int]:
    assert isinstance(made.scheduler, Scheduler)
    placer = made.scheduler._placer
    assert isinstance(placer, FirstFit)
    return placer.asked


def test_pods_go_by_band_then_priority_then_how_long_they_wait() -> None:
    made = world(nodes=0)
    for name, labels, priority in (
        ("batch", {"koordinator.sh/priority-class": "koord-batch"}, 5999),
        ("plain", {}, 0),
        ("high", {}, 100),
        ("free", {"koordinator.sh/priority-class": "koord-free"}, 9999),
        ("later", {}, 0),
    ):
        made.add_service(service(name, template=template(cpu="4", labels=labels, spec={"priority": priority})))
        made.run_until(made.now() + 0.1)
    for minute, expected in enumerate(("high", "plain", "later", "batch", "free")):
        made.add_nodes(made.machines.pools[0].offerings[0], 1)
        made.run_until(START + 60 * (minute + 1))
        assert any(key.startswith(f"default/{expected}-") for key in running(made)), expected
        assert len(running(made)) == minute + 1


def test_one_pod_speaks_for_its_class_once_that_has_failed() -> None:
    made = world(nodes=1)
    made.add_service(service(replicas=100))
    made.run_until(START + 2)
    tries = len(asked(made))
    assert tries == 100  # nobody knew
    made.run_until(START + 290)
    assert len(asked(made)) == tries  # nothing has changed
    made.run_until(START + 310)
    assert len(asked(made)) == tries + 1  # five minutes have passed
    made.add_nodes(made.machines.pools[0].offerings[0], 1)
    made.run_until(START + 330)
    assert len(running(made)) == 8


def test_room_that_grows_is_used_after_the_back_off() -> None:
    made = world(nodes=1)
    made.add_service(service("first", replicas=4, scale=(Scale(100, 2),)))
    made.add_service(service("second", replicas=2))
    made.run_until(START + 100)
    assert running(made, "second") == []
    made.run_until(START + 120)
    assert len(running(made, "second")) == 2


def test_one_class_that_fails_does_not_hold_up_another() -> None:
    made = world(nodes=1)
    made.add_service(service("large", replicas=3, template=template(cpu="64", labels={"app": "large"})))
    made.add_service(service("small", replicas=3))
    made.run_until(START + 60)
    assert len(running(made, "small")) == 3
    table = made.cluster.snapshot.pods
    (reason,) = {made.scheduler.reason(table.by_key[key]) for key in pods(made, "large")}
    assert reason == "Insufficient room"


def test_gated_pods_are_not_tried() -> None:
    made = world(nodes=1)
    made.add_service(service(template=template(spec={"scheduling_gates": (SchedulingGate("wait"),)})))
    made.run_until(START + 600)
    assert asked(made) == []


def test_waits_are_recorded_from_when_a_pod_was_wanted() -> None:
    made = world(pool(), nodes=1)
    made.add_job(job("first", 300.0, template=template(cpu="4", start_seconds=0.0), after=10.0))
    made.add_job(job("second", 300.0, template=template(cpu="4", start_seconds=0.0), after=10.0))
    made.run_until(START + 700)
    made.close()
    waits = [wait.seconds for wait in made.ledger.waits]
    assert waits[0] == 0.0
    assert waits[1] == pytest.approx(301, abs=2)


def test_those_who_still_wait_at_the_end_are_counted() -> None:
    made = world(nodes=0)
    made.add_job(job(after=100.0))
    made.add_job(job("held", after=200.0, suspend=True))
    made.run_until(START + 1000)
    made.close()
    assert sorted(wait.seconds for wait in made.ledger.waits) == [800, 900]
    assert made.ledger.timeline().longest_pending[-1] == pytest.approx(860, abs=60)
