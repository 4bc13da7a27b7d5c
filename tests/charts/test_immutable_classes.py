"""The chart's ValidatingAdmissionPolicy on a real API server: a pod keeps the labels that say its class and priority."""

import json
from typing import Any

from tests.charts.helm import NEAPTIDE, Helm
from tests.kube.live import eventually, make
from tests.testbed.asking import done

from neaptide.testbed.cluster import Testbed

QOS = "koordinator.sh/qosClass"


def test_a_pods_class_and_priority_cannot_change_and_its_other_labels_can(
    control_plane: Testbed, namespace: str, helm: Helm
) -> None:
    rendered = helm.rendered(NEAPTIDE, "--set=admission.immutableClasses=true", release=f"r-{namespace}")
    policies = [each for (kind, _), each in rendered.items() if kind.startswith("ValidatingAdmissionPolicy")]
    assert len(policies) == 2
    for each in policies:  # of this test's namespace only, for the control plane is shared
        if each["kind"] == "ValidatingAdmissionPolicy":
            chosen = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
            each["spec"]["matchConstraints"]["namespaceSelector"] = chosen
    container: dict[str, Any] = {"name": "main", "image": "local.test/none:1"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {QOS: "LS", "app": "web"}},
        "spec": {"containers": [container], "nodeName": "nowhere"},
    }
    make(control_plane, pod, namespace=namespace)
    done(
        control_plane,
        "create",
        "--filename=-",
        content=json.dumps({"apiVersion": "v1", "kind": "List", "items": policies}),
    )
    try:
        relabel = ("label", "pod", "p", f"--namespace={namespace}", "--overwrite")
        eventually(lambda: "cannot change" in refusal(control_plane, *relabel, f"{QOS}=BE", "--dry-run=server"))
        for change in (f"{QOS}-", "koordinator.sh/priority=5", "koordinator.sh/priority-class=koord-batch"):
            assert "cannot change: make a new pod" in refusal(control_plane, *relabel, change)
        done(control_plane, *relabel, "app=other")
    finally:
        names = [f"{each['kind']}/{each['metadata']['name']}" for each in policies]
        done(control_plane, "delete", *names)


def refusal(testbed: Testbed, *arguments: str) -> str:
    """What the API server says against it; empty where it does it."""
    try:
        done(testbed, *arguments)
    except AssertionError as error:
        return str(error)
    return ""
