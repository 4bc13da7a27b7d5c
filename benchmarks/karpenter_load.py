"""The load that Karpenter was measured with: 100 Deployments, and 72 instance types of its kwok provider with AWS's prices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from neaptide.pricing.catalogue import Catalogue, InstancePrice

FAMILIES = frozenset(
    [
        "c5",
        "c5a",
        "c6i",
        "c6a",
        "c6g",
        "c7g",
        "c7i",
        "c7a",
        "m5",
        "m5a",
        "m6i",
        "m6a",
        "m6g",
        "m7g",
        "m7i",
        "m7a",
        "r5",
        "r5a",
        "r6i",
        "r6a",
        "r6g",
        "r7g",
        "r7i",
        "r7a",
    ]
)
SIZES = ("large", "xlarge", "2xlarge")
EXAMPLES = Path("kwok") / "examples" / "aws_instance_types.json"
"""Where Karpenter's Go module has the table."""
CAPACITY_TYPE, ZONE = "karpenter.sh/capacity-type", "topology.kubernetes.io/zone"
OVERHEAD_MILLI, OVERHEAD_MIB = 100, 10
"""What Karpenter's kwok provider takes off every node's capacity."""
NAMESPACE = "load"
_ARCHITECTURES = {"x86_64": "amd64"}


def instance_types(table: Path) -> list[dict[str, Any]]:
    """The 72 types, as Karpenter's kwok provider reads them (INSTANCE_TYPES_FILE_PATH).

    Its table calls an architecture x86_64 and labels nodes so; a kubelet, and a price catalogue, say amd64.
    """
    rows = msgspec.json.decode(table.read_bytes())
    chosen = [each for each in rows if each["operatingSystems"] == ["linux"] and _is_chosen(each["name"])]
    return [each | {"architecture": _ARCHITECTURES.get(each["architecture"], each["architecture"])} for each in chosen]


def catalogue(types: Sequence[dict[str, Any]]) -> Catalogue:
    """The same types as a price catalogue: sizes are allocatable."""
    return Catalogue([_price(each, offering) for each in types for offering in each["offerings"]])


def as_csv(found: Catalogue) -> str:
    """A catalogue as `--prices` reads it."""
    fields = ("instance_type", "capacity_type", "price_per_hour", "zone", "cpu_milli", "memory_mib", "pods", "arch")
    rows = [",".join(str(getattr(each, name)) for name in fields) for each in found.instances]
    return "\n".join([",".join(fields), *rows, ""])


def deployments(replicas: int, *, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """100 Deployments; cpu 100..1090m, 1, 4 or 8 GiB of memory per cpu; a third need on-demand nodes."""
    return [_deployment(number, replicas, namespace) for number in range(100)]


def _is_chosen(name: str) -> bool:
    family, _, size = name.partition(".")
    return family in FAMILIES and size in SIZES


def _price(each: dict[str, Any], offering: dict[str, Any]) -> InstancePrice:
    said = {requirement["key"]: requirement["values"][0] for requirement in offering["Requirements"]}
    resources = each["resources"]
    return InstancePrice(
        each["name"],
        said[CAPACITY_TYPE],
        offering["Price"],
        zone=said[ZONE],
        cpu_milli=1000 * int(resources["cpu"]) - OVERHEAD_MILLI,
        memory_mib=_mib(resources["memory"]) - OVERHEAD_MIB,
        pods=int(resources["pods"]),
        arch=each["architecture"],
    )


def _mib(text: str) -> int:
    return int(text.removesuffix("Gi")) * 1024 if text.endswith("Gi") else int(text.removesuffix("Mi"))


def _deployment(number: int, replicas: int, namespace: str) -> dict[str, Any]:
    cpu = 100 + 10 * number
    memory = int(cpu / 1000 * 1024 * (1, 4, 8)[number % 3])
    requests = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "x", "resources": {"requests": requests}}],
    }
    if number // 3 % 3 == 0:
        spec["nodeSelector"] = {CAPACITY_TYPE: "on-demand"}
    labels = {"app": f"d{number}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"d{number}", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
