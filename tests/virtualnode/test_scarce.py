"""A provider that takes spot capacity back, has run out of stock, or does not answer, on a real control plane."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done, items
from tests.virtualnode.failing import Breaking, Counting
from tests.virtualnode.test_kubelet import condition, phase, reasons
from tests.virtualnode.virtual import Outside, on, outside, simulated

from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode import registration
from neaptide.virtualnode.providers.simulated import RECLAIM_AFTER, RUN_SECONDS, SPOT, SimulatedSpec


@pytest.fixture
def beside(control_plane: Testbed) -> Iterator[Outside]:
    with outside() as made:
        yield made
        done(control_plane, "delete", "node", "--selector=type=virtual-kubelet", "--wait=false")


def test_a_spot_pod_is_told_before_its_capacity_is_taken_back_and_no_other_pod_is(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    market = SimulatedSpec(start_seconds=0.0, seconds_per_mb=0.0, notice_seconds=3.0)
    with beside.kubelet(control_plane, "vk-spot", simulated(market)):
        spot, fixed = (on("vk-spot", name, annotations={RECLAIM_AFTER: "1"}) for name in ("spot", "fixed"))
        spot["metadata"]["labels"] = dict([SPOT])
        make(control_plane, spot, fixed, namespace=namespace)
        eventually(lambda: "SpotToBeReleased" in reasons(control_plane, "spot", namespace), "it is told")
        eventually(lambda: phase(control_plane, "spot", namespace) == "Failed")
        status = found(control_plane, "pod", "spot", namespace)["status"]
        assert status["reason"] == "BidFailed"
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 143
        assert phase(control_plane, "fixed", namespace) == "Running"


def said(testbed: Testbed, name: str, namespace: str) -> str:
    """What Events tell of a pod."""
    events = items(testbed, "events", f"--namespace={namespace}")
    return "; ".join(each["message"] for each in events if each["involvedObject"]["name"] == name)


def test_a_pod_that_is_out_of_stock_says_so_and_starts_when_there_is_some(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    one = SimulatedSpec(start_seconds=0.0, seconds_per_mb=0.0, stock=1)
    with beside.kubelet(control_plane, "vk-stock", simulated(one)):
        make(control_plane, on("vk-stock", "first"), namespace=namespace)
        eventually(lambda: phase(control_plane, "first", namespace) == "Running")
        make(control_plane, on("vk-stock", "second", annotations={RUN_SECONDS: "0.1"}), namespace=namespace)
        eventually(lambda: "OutOfStock" in said(control_plane, "second", namespace), "it says why it waits")
        assert phase(control_plane, "second", namespace) == "Pending"
        done(control_plane, "delete", "pod", "first", f"--namespace={namespace}", "--wait=false")
        eventually(lambda: phase(control_plane, "second", namespace) == "Succeeded", "it starts after all")


def test_a_node_whose_provider_does_not_answer_is_not_ready_and_its_pods_go_on(
    control_plane: Testbed, namespace: str, beside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "LEASE_SECONDS", 2)
    answers, provider = asyncio.Event(), Counting()

    async def point(call: str) -> None:
        if call == "before ping":
            await answers.wait()

    beside.loop.call_soon_threadsafe(answers.set)
    with beside.kubelet(control_plane, "vk-silent", Breaking(provider, point)):
        make(control_plane, on("vk-silent", "p"), namespace=namespace)
        eventually(lambda: phase(control_plane, "p", namespace) == "Running")
        beside.loop.call_soon_threadsafe(answers.clear)
        eventually(lambda: condition(control_plane, "vk-silent") == "False", "it says itself that it is not ready")
        beside.loop.call_soon_threadsafe(answers.set)
        eventually(lambda: condition(control_plane, "vk-silent") == "True", "it is back")
        assert phase(control_plane, "p", namespace) == "Running"
    assert set(provider.begun.values()) == {1}
