"""The openb trace's GPU nodes and pods as objects of a cluster, shares of devices by Koordinator's resources."""

from pathlib import Path
from typing import Any

from neaptide.simulator.traces.openb import Openb, load_openb
from neaptide.simulator.traces.rows import TraceError
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.nodes import fake_node

NAMESPACE = "default"
_GPU, _CORE, _RATIO = "nvidia.com/gpu", "koordinator.sh/gpu-core", "koordinator.sh/gpu-memory-ratio"
_PRODUCT = "nvidia.com/gpu.product"
_WHOLE_MILLI, _WHOLE_SHARE = 1000, 100
_PODS_PER_NODE = "110"


def read(directory: Path) -> Openb:
    """The trace of a directory. Raises TestbedError."""
    try:
        return load_openb(directory)
    except TraceError as error:
        raise TestbedError(f"--openb: {error}") from error


def nodes(trace: Openb) -> list[dict[str, Any]]:
    """Its nodes, as kwok plays them: whole devices, and the same devices in hundredths."""
    found = trace.nodes
    return [
        fake_node(
            found.names[at],
            {_PRODUCT: found.model[at]},
            {
                "cpu": f"{found.cpu[at]}m",
                "memory": str(found.memory[at]),
                "pods": _PODS_PER_NODE,
                _GPU: str(found.gpu_count[at]),
                _CORE: str(_WHOLE_SHARE * found.gpu_count[at]),
                _RATIO: str(_WHOLE_SHARE * found.gpu_count[at]),
            },
        )
        for at in range(len(found.names))
    ]


def pods(trace: Openb, count: int, scheduler: str) -> list[dict[str, Any]]:
    """The first so many of its pods, for a scheduler by its name."""
    return [_pod(trace, at, scheduler) for at in range(min(count, len(trace.pods.names)))]


def _pod(trace: Openb, at: int, scheduler: str) -> dict[str, Any]:
    asked = trace.pods
    requests = {"cpu": f"{asked.cpu[at]}m", "memory": str(asked.memory[at]), **_devices(trace, at)}
    resources = {"requests": requests, "limits": {name: requests[name] for name in requests if "/" in name}}
    spec: dict[str, Any] = {
        "schedulerName": scheduler,
        "containers": [{"name": "main", "image": "local.test/openb:1", "resources": resources}],
    }
    if asked.gpu_spec[at]:
        models = {"key": _PRODUCT, "operator": "In", "values": asked.gpu_spec[at].split("|")}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [models]}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return {"metadata": {"name": asked.names[at], "namespace": NAMESPACE, "labels": {"app": "openb"}}, "spec": spec}


def _devices(trace: Openb, at: int) -> dict[str, str]:
    """Whole devices by their number, a part of one in hundredths, rounded up."""
    number, milli = int(trace.pods.num_gpu[at]), int(trace.pods.gpu_milli[at])
    if not number:
        return {}
    if milli >= _WHOLE_MILLI:
        return {_GPU: str(number)}
    share = str(number * -(-milli * _WHOLE_SHARE // _WHOLE_MILLI))
    return {_CORE: share, _RATIO: share}
