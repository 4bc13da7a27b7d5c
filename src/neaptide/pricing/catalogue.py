"""What nodes cost: the prices of a catalogue, and how one is found. A price that is not there is None, never zero."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

CapacityType = Literal["on-demand", "spot"]

EVERY_FAMILY = "*"

_MILLI = 1000
_GIB = 2**30


class InstancePrice(msgspec.Struct, frozen=True, gc=False):
    """The price of an instance type in US dollars per hour. An empty zone stands for all; sizes are allocatable, None where unknown."""

    instance_type: str
    capacity_type: CapacityType
    price_per_hour: float
    zone: str = ""
    cpu_milli: int | None = None
    memory_mib: int | None = None
    pods: int | None = None
    arch: str = ""
    gpu: int = 0
    gpu_model: str = ""
    source: str = ""
    date: str = ""


class UnitPrice(msgspec.Struct, frozen=True, gc=False):
    """What a vCPU and a GiB cost per hour in a family of instance types; the family `*` is every node's, also one without a type."""

    family: str
    capacity_type: CapacityType
    price_per_vcpu_hour: float
    price_per_gib_hour: float
    zone: str = ""
    source: str = ""
    date: str = ""


class GpuPrice(msgspec.Struct, frozen=True, gc=False):
    """What a whole GPU costs per hour on top of vCPUs and memory; `also` are other names of the model."""

    gpu_model: str
    capacity_type: CapacityType
    price_per_gpu_hour: float
    zone: str = ""
    also: tuple[str, ...] = ()
    source: str = ""
    date: str = ""


class Catalogue:
    """Prices by instance type and by unit. Where two entries say the same, the first counts."""

    def __init__(
        self,
        instances: Iterable[InstancePrice] = (),
        units: Iterable[UnitPrice] = (),
        gpus: Iterable[GpuPrice] = (),
    ) -> None:
        self.instances = tuple(instances)
        self.units = tuple(units)
        self.gpus = tuple(gpus)
        self._instances: dict[tuple[str, str, str], float] = {}
        self._units: dict[tuple[str, str, str], UnitPrice] = {}
        self._gpus: dict[tuple[str, str, str], float] = {}
        for instance in self.instances:
            key = (instance.instance_type, instance.capacity_type, instance.zone)
            self._instances.setdefault(key, instance.price_per_hour)
        for unit in self.units:
            self._units.setdefault((unit.family, unit.capacity_type, unit.zone), unit)
        for gpu in self.gpus:
            for model in (gpu.gpu_model, *gpu.also):
                self._gpus.setdefault((model, gpu.capacity_type, gpu.zone), gpu.price_per_gpu_hour)

    def price(self, instance_type: str, capacity_type: str, zone: str = "") -> float | None:
        """Dollars per hour of an instance type: that of the zone, else that of all zones."""
        zonal = self._instances.get((instance_type, capacity_type, zone))
        return self._instances.get((instance_type, capacity_type, "")) if zonal is None else zonal

    def price_of_shape(
        self,
        instance_type: str,
        capacity_type: str,
        zone: str = "",
        *,
        cpu_milli: int,
        memory_bytes: int,
        gpu: int = 0,
        gpu_model: str = "",
    ) -> float | None:
        """Dollars per hour of a node by what it is made of, at the unit prices of its family; None where any of them is unknown."""
        unit = self._unit(instance_type, capacity_type, zone)
        if unit is None:
            return None
        price = unit.price_per_vcpu_hour * cpu_milli / _MILLI + unit.price_per_gib_hour * memory_bytes / _GIB
        if gpu == 0:
            return price
        each = self._gpus.get((gpu_model, capacity_type, zone))
        if each is None:
            each = self._gpus.get((gpu_model, capacity_type, ""))
        return None if each is None else price + gpu * each

    def _unit(self, instance_type: str, capacity_type: str, zone: str) -> UnitPrice | None:
        for family in families(instance_type):
            for place in (zone, ""):
                unit = self._units.get((family, capacity_type, place))
                if unit is not None:
                    return unit
        return None


def families(instance_type: str) -> Iterator[str]:
    """The families a type may belong to, narrowest first: m5.large is of m5.large, m5 and the family of all."""
    yield instance_type
    for end in range(len(instance_type) - 1, 0, -1):
        if instance_type[end] in ".-_":
            yield instance_type[:end]
    yield EVERY_FAMILY
