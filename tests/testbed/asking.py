"""What tests ask a control plane, through its kubectl."""

import json
from typing import Any

from neaptide.testbed import cluster


def done(testbed: cluster.Testbed, *arguments: str, content: str | None = None) -> str:
    """What kubectl prints; it must succeed."""
    found = testbed.kubectl(arguments, content=content)
    assert found.returncode == 0, found.stderr
    return found.stdout


def refused(testbed: cluster.Testbed, *arguments: str, content: str | None = None) -> str:
    """What kubectl complains of; it must fail."""
    found = testbed.kubectl(arguments, content=content)
    assert found.returncode != 0, found.stdout
    return found.stderr


def items(testbed: cluster.Testbed, *arguments: str) -> list[dict[str, Any]]:
    """The objects that `kubectl get` finds."""
    found: list[dict[str, Any]] = json.loads(done(testbed, "get", *arguments, "--output=json"))["items"]
    return found


def state_of(testbed: cluster.Testbed, component: str) -> str:
    return next(each.state for each in testbed.status() if each.component == component)


def deployment(name: str, replicas: int) -> str:
    """A manifest; its pods ask for half a core and 1 GiB each."""
    labels = {"app": name}
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
