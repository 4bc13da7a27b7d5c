"""The scheduler when things go wrong: nothing is lost, nothing is bound twice, no node gets more than it has."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from tests.kube.live import eventually
from tests.kube.scheduler.asking import (
    PEER,
    bound,
    create,
    deployment,
    node,
    nodes_of,
    nothing_is_over_committed,
    pod,
    pods,
    refused,
)
from tests.kube.scheduler.conftest import Start
from tests.testbed.asking import done

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.faults import Fault
from neaptide.testbed.load import add_nodes
from neaptide.testbed.proxy import Proxy

BINDING = r"/binding\?"
POST = frozenset({"POST"})
GANG = "gang.scheduling.koordinator.sh/"


@contextmanager
def proxied(bed: Testbed, *faults: Fault) -> Iterator[Proxy]:
    """A proxy that makes faults, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    proxy = Proxy(bed.site, faults)
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def bindings(bed: Testbed, namespace: str) -> Counter[str]:
    """How often the API server has bound each pod of a namespace, by its audit log."""
    found: Counter[str] = Counter()
    for line in bed.log("audit").read_text().splitlines():
        if f"/namespaces/{namespace}/pods/" in line and "/binding" in line and '"code":201' in line:
            found[line.partition(f"/namespaces/{namespace}/pods/")[2].partition("/")[0]] += 1
    return found


def test_a_scheduler_killed_between_reserve_and_bind_loses_nothing(bed: Testbed, place: str, scheduler: Start) -> None:
    held = Fault(methods=POST, path=BINDING, delay=60.0)
    create(bed, place, deployment("web", 40, cpu="500m"))
    with proxied(bed, held) as proxy, scheduler(proxy.kubeconfig) as process:
        eventually(lambda: proxy.struck >= 10)  # their room is reserved, and the API server has not heard of it
        process.kill()
        process.wait()
    assert not any(nodes_of(bed, place).values())
    with scheduler(bed.kubeconfig):
        bound(bed, place, 40)
    nothing_is_over_committed(bed)


def test_a_binding_whose_answer_is_lost_is_known_to_be_done(bed: Testbed, place: str, scheduler: Start) -> None:
    lost = Fault(methods=POST, path=BINDING, cut_bytes=0, times=10, reset=True)
    with proxied(bed, lost) as proxy, scheduler(proxy.kubeconfig):
        create(bed, place, deployment("web", 30))
        bound(bed, place, 30)
        assert proxy.struck == 10
    assert set(bindings(bed, place).values()) == {1}
    nothing_is_over_committed(bed)


@pytest.mark.slow
def test_a_slow_api_server_makes_it_slow_and_no_more(bed: Testbed, place: str, scheduler: Start) -> None:
    slow = Fault(methods=frozenset({"POST", "PATCH", "GET"}), delay=0.3)
    refusing = Fault(methods=POST, path=BINDING, chance=0.3, answer=503, retry_after=1)
    with proxied(bed, refusing, slow) as proxy, scheduler(proxy.kubeconfig):
        create(bed, place, deployment("web", 60))
        bound(bed, place, 60)
    assert set(bindings(bed, place).values()) == {1}
    nothing_is_over_committed(bed)


@pytest.mark.slow
def test_kube_scheduler_may_fill_the_same_nodes_meanwhile(bed: Testbed, place: str, scheduler: Start) -> None:
    with scheduler(bed.kubeconfig):
        create(bed, place, deployment("theirs", 60, cpu="600m", scheduler=PEER), deployment("ours", 60, cpu="600m"))
        bound(bed, place, 120)
        create(bed, place, deployment("more", 200, cpu="600m"))  # more than there is room for
        eventually(lambda: len(nodes_of(bed, place)) == 320)
        refused(bed, place, next(name for name, where in nodes_of(bed, place).items() if not where))
    nothing_is_over_committed(bed)


@pytest.mark.slow
def test_a_node_may_be_cordoned_or_vanish_while_pods_are_bound_to_it(
    bed: Testbed, place: str, scheduler: Start
) -> None:
    mine: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": "passing"}}
    slow = Fault(methods=POST, path=BINDING, delay=1.0)
    add_nodes(bed.site, [node("passing")])
    create(bed, place, deployment("picky", 20, **mine))
    with proxied(bed, slow) as proxy, scheduler(proxy.kubeconfig):
        eventually(lambda: proxy.struck >= 1)
        done(bed, "cordon", "passing")
        create(bed, place, pod("late", **mine))
        refused(bed, place, "late")
        done(bed, "delete", "node", "passing")
        create(bed, place, deployment("anywhere", 20))
        eventually(
            lambda: (
                sum(bool(w) and w != "passing" for name, w in nodes_of(bed, place).items() if "anywhere" in name) == 20
            )
        )
    nothing_is_over_committed(bed)


@pytest.mark.slow
def test_a_frozen_scheduler_does_nothing_on_waking(bed: Testbed, place: str, scheduler: Start) -> None:
    with scheduler(bed.kubeconfig, "--identity", "first") as first:
        create(bed, place, pod("warm"))
        bound(bed, place, 1)
        first.send_signal(signal.SIGSTOP)
        with scheduler(bed.kubeconfig, "--identity", "second"):
            create(bed, place, deployment("web", 20))
            bound(bed, place, 21)
            first.send_signal(signal.SIGCONT)
            create(bed, place, deployment("more", 20))
            bound(bed, place, 41)
    assert set(bindings(bed, place).values()) == {1}
    nothing_is_over_committed(bed)


def test_a_gang_whose_members_differ_says_so_and_a_sound_one_is_bound_together(
    bed: Testbed, place: str, scheduler: Start
) -> None:
    def member(gang: str, number: int, minimum: str) -> dict[str, object]:
        annotations = {GANG + "name": gang, GANG + "min-available": minimum}
        return pod(f"{gang}-{number}", metadata={"annotations": annotations})

    with scheduler(bed.kubeconfig):
        create(bed, place, *(member("uneven", number, str(2 + number)) for number in range(2)))
        create(bed, place, *(member("short", number, "3") for number in range(2)))
        assert "differ in" in refused(bed, place, "uneven-0")
        assert "has 2 of the 3 pods" in refused(bed, place, "short-0")
        create(bed, place, member("short", 2, "3"))
        bound(bed, place, 3)
    assert {name for name, where in nodes_of(bed, place).items() if where} == {"short-0", "short-1", "short-2"}
    assert len(pods(bed, place)) == 5
