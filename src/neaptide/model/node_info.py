"""What is measured of a node beside its CPU and memory: load, pressure stall, network, disk, and percentiles of its usage.

Whoever observes a cluster puts one of these by node into the snapshot (`snapshot.others["NodeInfo"]`). What is not known is
left out, and never read as 0.
"""

from msgspec import Struct

from neaptide.model.objects import Metadata


class Percentiles(Struct, frozen=True, gc=False):
    """Usage over one window: by name (`p50`, `p95`, `max`), in milli-CPU and in bytes."""

    cpu: dict[str, float] = {}
    memory: dict[str, float] = {}


class NodeInfo(Struct, frozen=True, gc=False):
    """One look at a node. `metadata.name` is the node's.

    Attributes:
        time: when it was measured, in seconds since the epoch.
        load: the run queue per CPU by window (`1m`, `5m`, `15m`).
        pressure: the part of the time (0..1) in which some task waited, by resource (`cpu`, `memory`, `io`).
        network, disk: the part (0..1) of their capacity that is in use; None where it is not known.
        percentiles: usage by window (`5m`, `10m`, `30m`).
    """

    metadata: Metadata
    time: float
    load: dict[str, float] = {}
    pressure: dict[str, float] = {}
    network: float | None = None
    disk: float | None = None
    percentiles: dict[str, Percentiles] = {}
