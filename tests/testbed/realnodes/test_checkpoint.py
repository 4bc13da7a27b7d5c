"""Pods of a real node that are asked to save their work before they are evicted."""

from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import acted, eviction

from neaptide.model.actions import Checkpoint
from neaptide.testbed.realnodes.cluster import RealNodes
from neaptide.testbed.realnodes.pods import Pods, manifest

WAITS = "trap 'echo told >> /out/said; exit 0' TERM; while :; do sleep 0.1; done"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sh", "-c", "sleep 0.5; echo saved >> /out/said"), "saved\ntold\n"),
        (("sh", "-c", "echo begun >> /out/said; exit 3"), "begun\ntold\n"),
        (("sh", "-c", "echo begun >> /out/said; sleep 60"), "begun\ntold\n"),
        (("no-such-program",), "told\n"),
    ],
    ids=["it saves", "it fails", "it takes too long", "it is not there"],
)
def test_a_pod_is_asked_to_save_its_work_and_goes_whatever_comes_of_it(
    real_nodes: RealNodes, pods: Pods, command: tuple[str, ...], said: str
) -> None:
    output = writing(real_nodes, pods, "works")
    pods.run(output[0])
    hook = Checkpoint(command, "", 3.0)
    assert acted(
        real_nodes.testbed, eviction(real_nodes.testbed, "works", pods.namespace, "real-1", checkpoint=hook)
    ) == [("Done", "Test")]
    pods.kubectl("wait", "--for=delete", "pod/works", "--timeout=180s")
    assert output[1].read_text() == said


def test_a_pod_that_a_budget_keeps_is_not_asked(real_nodes: RealNodes, pods: Pods) -> None:
    pod, output = writing(real_nodes, pods, "kept")
    pod["metadata"]["labels"] = {"app": "kept"}
    pods.run(pod)
    pods.kubectl("create", "poddisruptionbudget", "kept", "--selector=app=kept", "--min-available=1")
    hook = Checkpoint(("sh", "-c", "echo saved >> /out/said"), "main", 3.0)
    outcome = acted(real_nodes.testbed, eviction(real_nodes.testbed, "kept", pods.namespace, "real-1", checkpoint=hook))
    assert outcome == [("Refused", "DisruptionBudget")]
    assert not output.exists()


def writing(real_nodes: RealNodes, pods: Pods, name: str) -> tuple[dict[str, Any], Path]:
    """A pod that writes to a file on its node, and that file."""
    folder = f"/var/log/{pods.namespace}-{name}"
    pod = manifest(name, ["sh", "-c", WAITS], nodeName="real-1", terminationGracePeriodSeconds=10)
    pod["spec"]["volumes"] = [{"name": "out", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "out", "mountPath": "/out"}]
    return pod, real_nodes["real-1"].root / folder.lstrip("/") / "said"
