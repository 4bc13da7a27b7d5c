"""PriceCatalogue: what nodes cost. `spec` is a price file as it stands: the same names, read by the same parser."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from neaptide.kube.crds.types import API_VERSION, Condition, Count
from neaptide.model.objects import Metadata
from neaptide.model.problems import LeftOut
from neaptide.pricing.catalogue import CapacityType, Catalogue
from neaptide.pricing.parse import parse_yaml

Price = Annotated[float, Meta(ge=0, le=1e6)]
Name = Annotated[str, Meta(min_length=1, max_length=253)]
Amount = Annotated[int, Meta(ge=1, le=10**12)]
Architecture = Literal["amd64", "arm64", "arm", "ppc64le", "riscv64", "s390x"]
Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
_Rows = Meta(max_length=5000)


class _Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every row may say; where it does not, the catalogue's own holds.

    Attributes:
        capacity_type: on-demand or spot.
        zone: as in topology.kubernetes.io/zone; without one, the price counts in all zones.
        source: where the price is from.
        date: as 2026-01-31.
    """

    capacity_type: CapacityType | None = None
    zone: Name | None = None
    source: str | None = None
    date: Date | None = None


class InstanceRow(_Row, frozen=True, kw_only=True, omit_defaults=True):
    """The price of an instance type in US dollars per hour. Sizes are allocatable.

    Attributes:
        instance_type: as in node.kubernetes.io/instance-type.
        price_per_hour: US dollars.
        cpu_milli: unknown where it is missing; no such node is bought then.
        memory_mib: as cpu_milli.
        pods: as cpu_milli.
        arch: the processor's architecture.
        gpu: whole devices.
        gpu_model: as in nvidia.com/gpu.product.
    """

    instance_type: Name
    price_per_hour: Price
    cpu_milli: Amount | None = None
    memory_mib: Amount | None = None
    pods: Amount | None = None
    arch: Architecture | None = None
    gpu: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    gpu_model: Name | None = None


class UnitRow(_Row, frozen=True, kw_only=True, omit_defaults=True):
    """What a vCPU and a GiB cost per hour in a family of instance types.

    Attributes:
        family: as m5 or n1; `*` for every node.
        price_per_vcpu_hour: US dollars.
        price_per_gib_hour: US dollars.
    """

    family: Name
    price_per_vcpu_hour: Price
    price_per_gib_hour: Price


class GpuRow(_Row, frozen=True, kw_only=True, omit_defaults=True):
    """What a whole GPU costs per hour on top of vCPUs and memory.

    Attributes:
        gpu_model: as in nvidia.com/gpu.product.
        price_per_gpu_hour: US dollars.
        also: other names of the model.
    """

    gpu_model: Name
    price_per_gpu_hour: Price
    also: Annotated[tuple[Name, ...], Meta(max_length=32)] | None = None


class PriceCatalogueSpec(Struct, frozen=True, omit_defaults=True):
    """A price file's content. What stands beside the lists holds for every row that does not say otherwise.

    Attributes:
        source: where the prices are from.
        date: as 2026-01-31.
        capacity_type: on-demand or spot.
        zone: as in topology.kubernetes.io/zone.
        instance_types: prices by instance type.
        units: prices of a vCPU and a GiB.
        gpus: prices of GPUs.
    """

    source: str | None = None
    date: Date | None = None
    capacity_type: CapacityType | None = None
    zone: Name | None = None
    instance_types: Annotated[tuple[InstanceRow, ...], _Rows] | None = None
    units: Annotated[tuple[UnitRow, ...], _Rows] | None = None
    gpus: Annotated[tuple[GpuRow, ...], _Rows] | None = None


class PriceCatalogueStatus(Struct, frozen=True, rename="camel"):
    """What of the catalogue is used.

    Attributes:
        observed_generation: the generation that this is about.
        conditions: Ready; Degraded where rows were left out.
        rows: how many rows are used.
        left_out: how many are not.
    """

    observed_generation: Count = 0
    conditions: tuple[Condition, ...] = ()
    rows: Count = 0
    left_out: Count = 0


class PriceCatalogueObject(Struct, frozen=True, rename="camel", kw_only=True):
    """What nodes cost. Several catalogues are read in the order of their names; the first price of a thing counts."""

    spec: PriceCatalogueSpec
    status: PriceCatalogueStatus = PriceCatalogueStatus()
    api_version: str = API_VERSION
    kind: str = "PriceCatalogue"
    metadata: Metadata = Metadata()


class _Stored(Struct):
    """As `PriceCatalogueObject`, the spec unread."""

    metadata: Metadata
    spec: Raw = Raw(b"{}")


def read(raw: bytes) -> tuple[Catalogue, list[LeftOut]]:
    """The prices of a PriceCatalogue in JSON, and what of it was left out.

    Raises:
        CatalogueError: nothing of it can be used.
        MsgspecError: it is no object.
    """
    stored = msgspec.json.decode(raw, type=_Stored)
    return parse_yaml(bytes(stored.spec).decode(), f"PriceCatalogue {stored.metadata.name}")
