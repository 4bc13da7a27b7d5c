"""Pods for the provider `cluster`, as the API has them here."""

from typing import Any

from neaptide.virtualnode.provider import VirtualPod


def pod(
    name: str = "p", uid: str = "0123456789abcdef", *, metadata: dict[str, Any] | None = None, **spec: Any
) -> VirtualPod:
    """A pod of the namespace `here` on a virtual node."""
    about = {"name": name, "namespace": "here", "uid": uid, **(metadata or {})}
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    return VirtualPod(uid, "here", name, {"metadata": about, "spec": {"containers": [container], **spec}})
