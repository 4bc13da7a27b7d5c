"""What a run is judged by: a row of numbers at every tick, and a record of every eviction, wait, job and bill."""

from collections import defaultdict

import numpy as np
from msgspec import Struct

from neaptide.model.actions import Ref
from neaptide.model.columns import Floats

JOB_STATES = ("Complete", "Failed", "Cancelled", "Running", "Waiting", "Suspended")


class Eviction(Struct, frozen=True, gc=False):
    """A pod that was stopped before its time.

    `by` is the policy, `node`, `kubelet` or `cloud`; `code` and `message` are its reason; `lost_cpu_seconds` is work that
    has to be done again.
    """

    time: float
    pod: str
    workload: Ref
    node: str
    by: str
    code: str
    message: str
    lost_cpu_seconds: float


class Wait(Struct, frozen=True, gc=False):
    """How long a pod was wanted before it started; `started` is nan where it never did."""

    workload: str
    offline: bool
    wanted: float
    started: float
    seconds: float


class JobRecord(Struct, frozen=True, gc=False):
    """What became of a job; `state` is one of JOB_STATES, times are nan where it did not happen."""

    name: str
    namespace: str
    arrived: float
    started: float
    finished: float
    state: str
    completions: int
    succeeded: int
    failures: int


class Bill(Struct, frozen=True, gc=False):
    """One node's time. `dollars` is None where its price is unknown."""

    node: str
    pool: str
    instance_type: str
    capacity_type: str
    start: float
    end: float
    price_per_hour: float | None
    dollars: float | None


class VirtualBill(Struct, frozen=True, gc=False):
    """A pod's time on a virtual node. `size` is what was sold, empty where nothing that is sold holds the pod; `dollars` is None where unknown."""

    pod: str
    workload: Ref
    node: str
    start: float
    end: float
    size: str
    dollars: float | None


class Timeline(Struct, frozen=True):
    """One row a tick. By band: [ticks, 4], free to prod; by QoS class: [ticks, 5], SYSTEM to BE; by pool: [ticks, pools].

    CPU is in milli (batch and mid included), memory in bytes. What is counted (from `offline_cpu_seconds` on) is counted
    from the tick before; all else is as it is at `time`. Of virtual nodes and what is on them there is only the money, and the pods that run.
    """

    time: Floats
    nodes: Floats
    not_ready: Floats
    money_per_hour: Floats
    """US dollars of the nodes there are and of pods on virtual ones; nan while a price is unknown."""
    cpu_capacity: Floats
    memory_capacity: Floats
    cpu_requested: Floats
    memory_requested: Floats
    cpu_used: Floats
    memory_used: Floats
    cpu_requested_by_qos: Floats
    cpu_used_by_qos: Floats
    pending: Floats
    running: Floats
    longest_pending: Floats
    """Seconds that the pod which waits longest has waited."""
    offline_cpu_seconds: Floats
    service_cpu_seconds: Floats
    lost_cpu_seconds: Floats
    jobs_finished: Floats
    contention_minutes: Floats
    """Minutes in which a service's pod got less CPU than it wanted, summed over pods."""
    evictions: Floats


COUNTED = (
    "offline_cpu_seconds",
    "service_cpu_seconds",
    "lost_cpu_seconds",
    "jobs_finished",
    "contention_minutes",
    "evictions",
)


class Ledger:
    """Collects; `timeline` gives the columns."""

    def __init__(self) -> None:
        self.evictions: list[Eviction] = []
        self.waits: list[Wait] = []
        self.jobs: list[JobRecord] = []
        self.bills: list[Bill] = []
        self.virtual_bills: list[VirtualBill] = []
        self.totals: dict[str, float] = dict.fromkeys(COUNTED, 0.0)
        self._since_tick: dict[str, float] = dict.fromkeys(COUNTED, 0.0)
        self._rows: defaultdict[str, list[float | Floats]] = defaultdict(list)

    def count(self, what: str, amount: float) -> None:
        """Add to one of COUNTED."""
        self._since_tick[what] += amount
        self.totals[what] += amount

    def evicted(self, eviction: Eviction) -> None:
        """Record an eviction, and count it and the work that it lost."""
        self.evictions.append(eviction)
        self.count("evictions", 1)
        self.count("lost_cpu_seconds", eviction.lost_cpu_seconds)

    def tick(self, **values: float | Floats) -> None:
        """Close a row: the values as they are now, and what was counted since the last one."""
        for name, value in (values | self._since_tick).items():
            self._rows[name].append(value)
        self._since_tick = dict.fromkeys(COUNTED, 0.0)

    def timeline(self) -> Timeline:
        """The rows so far."""
        return Timeline(**{name: np.array(rows, dtype=np.float64) for name, rows in self._rows.items()})
