"""The virtual kubelet on a real control plane, with pods that its provider simulates."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done, items
from tests.virtualnode.virtual import Outside, on, outside, simulated

from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.providers.simulated import EXIT_CODE, RUN_SECONDS


@pytest.fixture
def beside(control_plane: Testbed) -> Iterator[Outside]:
    with outside() as made:
        yield made
        done(control_plane, "delete", "node", "--selector=type=virtual-kubelet", "--wait=false")


def phase(testbed: Testbed, name: str, namespace: str) -> str:
    return str(found(testbed, "pod", name, namespace).get("status", {}).get("phase", "gone"))


def reasons(testbed: Testbed, name: str, namespace: str) -> set[str]:
    return {
        each["reason"]
        for each in items(testbed, "events", f"--namespace={namespace}")
        if each["involvedObject"]["name"] == name
    }


def condition(testbed: Testbed, node: str, kind: str = "Ready") -> Any:
    conditions = found(testbed, "node", node).get("status", {}).get("conditions", [])
    return next((each["status"] for each in conditions if each["type"] == kind), None)


def test_a_pod_is_scheduled_to_a_virtual_node_runs_there_and_ends(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    with beside.kubelet(control_plane, "vk-runs", simulated()):
        make(control_plane, on("vk-runs", "p", annotations={RUN_SECONDS: "0.2"}), namespace=namespace)
        eventually(lambda: phase(control_plane, "p", namespace) == "Succeeded", "the pod ends well")
        eventually(
            lambda: {"Scheduled", "Pulled", "Created", "Started"} <= reasons(control_plane, "p", namespace),
            "its Events",
        )
    status = found(control_plane, "pod", "p", namespace)["status"]
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], status["hostIP"]) == (0, "Completed", "127.0.0.1")
    node = found(control_plane, "node", "vk-runs")
    assert node["metadata"]["labels"]["type"] == "virtual-kubelet"
    assert {"key": "virtual-kubelet.io/provider", "value": "simulated", "effect": "NoSchedule"} in node["spec"][
        "taints"
    ]
    lease = found(control_plane, "lease", "vk-runs", "kube-node-lease")
    assert lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


def test_a_running_pod_is_deleted_gracefully_and_nothing_of_it_stays(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    provider = simulated()
    with beside.kubelet(control_plane, "vk-deletes", provider):
        make(control_plane, on("vk-deletes", "p"), namespace=namespace)
        eventually(lambda: phase(control_plane, "p", namespace) == "Running", "the pod runs")
        done(control_plane, "delete", "pod", "p", f"--namespace={namespace}", "--timeout=180s")
        assert beside.do(provider.pods()) == []
        eventually(lambda: "Killing" in reasons(control_plane, "p", namespace), "Killing is said")


def test_a_job_whose_pods_fail_gets_its_back_off_from_the_job_controller(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    with beside.kubelet(control_plane, "vk-job", simulated()):
        template = on("vk-job", "x", annotations={RUN_SECONDS: "0", EXIT_CODE: "3"})
        spec = {"backoffLimit": 0, "template": {"metadata": template["metadata"], "spec": template["spec"]}}
        del template["metadata"]["name"]
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}
        make(control_plane, job, namespace=namespace)
        eventually(
            lambda: found(control_plane, "job", "j", namespace)["status"].get("failed") == 1, "the Job has failed"
        )


def test_what_a_provider_refuses_fails_at_once_and_says_the_field(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    with beside.kubelet(control_plane, "vk-refuses", simulated()):
        make(control_plane, on("vk-refuses", "p", hostNetwork=True), namespace=namespace)
        eventually(lambda: phase(control_plane, "p", namespace) == "Failed", "the pod fails")
    status = found(control_plane, "pod", "p", namespace)["status"]
    assert (status["reason"], status["message"]) == ("ProviderRefused", "spec.hostNetwork: a simulated pod has no host")


def test_a_node_that_somebody_deletes_is_made_again_and_its_pods_go_on(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    with beside.kubelet(control_plane, "vk-again", simulated()):
        make(control_plane, on("vk-again", "p"), namespace=namespace)
        eventually(lambda: phase(control_plane, "p", namespace) == "Running", "the pod runs")
        uid = found(control_plane, "pod", "p", namespace)["metadata"]["uid"]
        old = found(control_plane, "node", "vk-again")["metadata"]["uid"]
        done(control_plane, "delete", "node", "vk-again")
        eventually(
            lambda: found(control_plane, "node", "vk-again").get("metadata", {}).get("uid", old) != old, "it is back"
        )
        eventually(lambda: condition(control_plane, "vk-again") == "True", "it is ready")
        assert found(control_plane, "pod", "p", namespace)["metadata"]["uid"] == uid


def test_two_nodes_share_a_provider_and_neither_touches_the_others_pods(
    control_plane: Testbed, namespace: str, beside: Outside
) -> None:
    provider = simulated()
    with beside.kubelet(control_plane, "vk-one", provider), beside.kubelet(control_plane, "vk-two", provider):
        make(control_plane, on("vk-one", "a"), on("vk-two", "b"), namespace=namespace)
        for name in ("a", "b"):
            eventually(lambda name=name: phase(control_plane, name, namespace) == "Running", f"{name} runs")  # type: ignore[misc]
        done(control_plane, "delete", "pod", "a", f"--namespace={namespace}", "--timeout=180s")
        assert [each.name for each in beside.do(provider.pods())] == ["b"]
        assert (
            json.loads(done(control_plane, "get", "pod", "b", f"--namespace={namespace}", "--output=json"))["status"][
                "phase"
            ]
            == "Running"
        )
