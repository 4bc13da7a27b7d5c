"""What can be bought at a catalogue's prices."""

from neaptide.model.offerings import Offering
from neaptide.pricing.catalogue import Catalogue, InstancePrice

_MIB = 2**20


def offerings(catalogue: Catalogue) -> list[Offering]:
    """An offering for each instance type whose size the catalogue states in full: what a node could hold is never guessed."""
    return [
        Offering(
            instance_type=each.instance_type,
            capacity_type=each.capacity_type,
            zone=each.zone,
            price_per_hour=each.price_per_hour,
            allocatable=_allocatable(each, each.cpu_milli, each.memory_mib, each.pods),
            labels=_labels(each),
        )
        for each in catalogue.instances
        if each.cpu_milli is not None and each.memory_mib is not None and each.pods is not None
    ]


def _allocatable(each: InstancePrice, cpu_milli: int, memory_mib: int, pods: int) -> dict[str, int]:
    amounts = {"cpu": cpu_milli, "memory": memory_mib * _MIB, "pods": pods}
    return {**amounts, "nvidia.com/gpu": each.gpu} if each.gpu else amounts


def _labels(each: InstancePrice) -> dict[str, str]:
    labels = {
        "node.kubernetes.io/instance-type": each.instance_type,
        "karpenter.sh/capacity-type": each.capacity_type,
        "topology.kubernetes.io/zone": each.zone,
        "kubernetes.io/arch": each.arch,
        "nvidia.com/gpu.product": each.gpu_model,
    }
    return {label: value for label, value in labels.items() if value}
