"""The status that the API server gets, from what a provider knows."""

from typing import Any

import pytest

from neaptide.virtualnode.provider import VirtualPod
from neaptide.virtualnode.states import Container, Ended, PodState, Running, Waiting
from neaptide.virtualnode.status import failed_status, phase_of, pod_status

NOW = 1_800_000_000.0
RUNS, WAITS = Running(NOW - 5), Waiting()
GOOD, BAD = Ended(0, NOW, NOW - 5), Ended(1, NOW, NOW - 5)


def pod(*, restart: str = "Never", inits: int = 0, status: dict[str, Any] | None = None) -> VirtualPod:
    spec = {
        "restartPolicy": restart,
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
        "initContainers": [{"name": f"init-{each}"} for each in range(inits)],
    }
    return VirtualPod("u", "ns", "p", {"spec": spec, "status": status or {}})


def state(*each: Waiting | Running | Ended, init: Ended | None = None, **fields: Any) -> PodState:
    containers = tuple(Container(name, state) for name, state in zip("ab", each, strict=False))
    inits = (Container("init-0", init),) if init else ()
    return PodState("u", "ns", "p", containers, inits, **fields)


@pytest.mark.parametrize(
    ("restart", "found", "phase"),
    [
        pytest.param("Never", state(), "Pending", id="nothing is told of its containers"),
        pytest.param("Never", state(RUNS, WAITS), "Pending", id="one has not begun"),
        pytest.param("Never", state(RUNS, GOOD), "Running", id="one still runs"),
        pytest.param("Never", state(GOOD, GOOD), "Succeeded", id="all ended well"),
        pytest.param("Never", state(GOOD, BAD), "Failed", id="one ended badly"),
        pytest.param("OnFailure", state(GOOD, BAD), "Running", id="one will be begun again"),
        pytest.param("OnFailure", state(GOOD, GOOD), "Succeeded", id="none will be begun again"),
        pytest.param("Always", state(GOOD, GOOD), "Running", id="both will be begun again"),
        pytest.param("Never", state(WAITS, WAITS, init=BAD), "Failed", id="an init container ended badly"),
        pytest.param("OnFailure", state(WAITS, WAITS, init=BAD), "Pending", id="an init container is tried again"),
        pytest.param("Always", state(BAD, BAD, failed=True), "Failed", id="the provider ended it"),
        pytest.param("Always", state(RUNS, BAD, failed=True), "Running", id="the provider is ending it"),
    ],
)
def test_the_phase_is_a_kubelets(restart: str, found: PodState, phase: str) -> None:
    assert phase_of(pod(restart=restart, inits=len(found.init_containers)), found) == phase


def test_transitions_keep_their_time_while_nothing_changes() -> None:
    first = pod_status(pod(), state(RUNS, RUNS, sandbox=NOW, ip="10.0.0.9"), now=NOW, host_ip="10.0.0.1")
    again = pod_status(pod(status=first), state(RUNS, RUNS, sandbox=NOW), now=NOW + 60, host_ip="10.0.0.1")
    assert again == first
    assert {each["type"]: each["status"] for each in first["conditions"]} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )


@pytest.mark.parametrize(("gate", "ready"), [("False", "False"), ("True", "True")])
def test_a_readiness_gate_of_somebody_else_decides_too(gate: str, ready: str) -> None:
    gated = pod(status={"conditions": [{"type": "gate", "status": gate}]})
    gated.object["spec"]["readinessGates"] = [{"conditionType": "gate"}]
    conditions = pod_status(gated, state(RUNS, RUNS), now=NOW, host_ip="h")["conditions"]
    assert {each["type"]: each["status"] for each in conditions}["Ready"] == ready


def test_a_pod_whose_run_is_lost_fails_and_its_containers_count_as_killed() -> None:
    ran = pod(status=pod_status(pod(), state(RUNS, GOOD), now=NOW, host_ip="h"))
    status = failed_status(ran, "ProviderLost", "the provider does not know it", now=NOW + 9)
    codes = [each["state"]["terminated"]["exitCode"] for each in status["containerStatuses"]]
    assert (status["phase"], status["reason"], codes) == ("Failed", "ProviderLost", [137, 0])
