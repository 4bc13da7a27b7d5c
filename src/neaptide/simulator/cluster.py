"""Pods' lives: created, bound, started, stopped with grace, finished or lost. The state of record is one live snapshot."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.actions import Ref
from neaptide.model.columns import PENDING, RUNNING
from neaptide.model.qos import QoS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.simulator.clock import Clock
from neaptide.simulator.columns import NodeSide, PodSide
from neaptide.simulator.curves import Constant, CurveTable
from neaptide.simulator.ledger import Eviction, Ledger, Wait
from neaptide.simulator.meter import Meter
from neaptide.simulator.sharing import MIN_WEIGHT
from neaptide.simulator.templates import PodTemplate

CPU_RESOURCES = ("cpu", "kubernetes.io/batch-cpu", "kubernetes.io/mid-cpu", "neaptide.io/ot-cpu")
MEMORY_RESOURCES = ("memory", "kubernetes.io/batch-memory", "kubernetes.io/mid-memory", "neaptide.io/ot-memory")
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes random suffixes of names from."""


class Cause(NamedTuple):
    """Why a pod is stopped before its time: by whom, a code, and a sentence."""

    by: str
    code: str
    message: str


class Controller(Protocol):
    """Whoever wants pods. It is told what happens to them; a row is another pod's once `gone` has returned."""

    root: Ref

    def publish(self) -> None:
        """Write its object into the snapshot, with its status."""

    def desired(self) -> int:
        """How many pods it wants now."""

    def started(self, pod: int) -> None:
        """It runs and is ready."""

    def finished(self, pod: int, *, failed: bool, saved: float) -> None:
        """Its work ended, and it is no longer there; of failed work, `saved` seconds need not be done again."""

    def stopping(self, pod: int, *, saved: float) -> None:
        """Its deletion was asked for; `saved` seconds of its job's duration need not be done again."""

    def gone(self, pod: int) -> None:
        """It is no longer there."""


class Host(Protocol):
    """A node that is no machine, told which pods it has."""

    def took(self, pod: int) -> None:
        """A pod is bound to it: it calls `Cluster.starts` when the pod's turn has come."""

    def gave(self, pod: int) -> None:
        """A pod is about to be gone."""


class Birth(NamedTuple):
    """What a controller knows of a pod that it makes. Times in seconds; `progress` is what an earlier pod has saved."""

    name: str
    namespace: str
    owner: objects.OwnerReference
    wanted: float
    progress: float = 0.0
    duration: float = np.inf
    checkpoint: float = 0.0
    fails: bool = False


class Cluster:
    """The snapshot with the columns beside it, the clock, and everything that can happen to a pod."""

    def __init__(self, *, start: float, tick: float, seed: int, snapshot: ClusterSnapshot | None = None) -> None:
        self.clock = Clock(start)
        self.tick = tick
        self.next_tick = start
        self.random = np.random.default_rng(seed)
        self.snapshot = ClusterSnapshot() if snapshot is None else snapshot
        self.pods, self.nodes = PodSide(), NodeSide()
        self.ledger = Ledger()
        self.meter = Meter(self.snapshot, self.pods, self.nodes, CurveTable(tick), self.ledger)
        self.controllers: dict[int, Controller] = {}
        self.changed: dict[Controller, None] = {}
        """Controllers whose pods have changed since somebody looked."""
        self.wanted_of_class: dict[int, Callable[[], int]] = {}
        """By class of pods, how many of them their service wants."""
        self.pending: dict[int, None] = {}
        """Rows of the pods that wait for a node."""
        self.room_grew: Callable[[], None] = lambda: None
        """Called when a pod that did not fit may fit now."""
        self.pod_queued: Callable[[], None] = lambda: None
        self.hosts: dict[int, Host] = {}
        """By row of a node, those that are no machines."""
        self._templates: dict[int, PodTemplate] = {}
        self._waiting: dict[int, objects.Pod] = {}
        """The objects of pods that have no node."""
        self._pulled: set[tuple[str, object]] = set()
        self._serial = 0

    # -- names ---------------------------------------------------------------------------------------------------------

    def uid(self) -> str:
        """A UID like no other in this run."""
        self._serial += 1
        return f"00000000-0000-4000-8000-{self._serial:012x}"

    def suffix(self, length: int = 5) -> str:
        """A random end of a name."""
        return "".join(LETTERS[each] for each in self.random.integers(len(LETTERS), size=length).tolist())

    # -- a pod's life --------------------------------------------------------------------------------------------------

    def create(self, template: PodTemplate, birth: Birth, controller: Controller, *, node: int | None = None) -> int:
        """Make a pod, bound to a node (row) or waiting for one; its row."""
        meta = objects.Metadata(
            name=birth.name,
            namespace=birth.namespace,
            uid=self.uid(),
            resource_version=str(self._serial),
            labels=template.labels,
            annotations=template.annotations,
            owner_references=(birth.owner,),
            creation_timestamp=timestamp(self.clock.now),
        )
        made = objects.Pod(meta, template.spec)
        pod = self.snapshot.set_pod(made)
        self.controllers[pod], self._templates[pod] = controller, template
        self.changed[controller] = None
        if birth.duration == np.inf:
            self.wanted_of_class[int(self.snapshot.pods.cls[pod])] = controller.desired
        self._describe(pod, template, birth)
        if node is not None:
            self.snapshot.assign(pod, node)
            self.bound(pod)
        elif not self.snapshot.pods.gated[pod]:
            self.pending[pod], self._waiting[pod] = None, made
            self.pod_queued()
        return pod

    def tolerate(self, pod: int, toleration: objects.Toleration) -> None:
        """Give a pod that waits one more toleration. By that it is of another class, which its scheduler has not tried yet."""
        known, table = self._waiting[pod], self.snapshot.pods
        self._serial += 1
        meta = replace(known.metadata, resource_version=str(self._serial))
        spec = replace(known.spec, tolerations=(*known.spec.tolerations, toleration))
        wanted = self.wanted_of_class.get(int(table.cls[pod]))
        self._waiting[pod] = changed = replace(known, metadata=meta, spec=spec)
        self.snapshot.set_pod(changed)
        if wanted is not None:
            self.wanted_of_class[int(table.cls[pod])] = wanted
        self.pod_queued()

    def bound(self, pod: int) -> None:
        """A pod has got a node: its kubelet, or what a virtual node has in place of one, pulls the image and starts it."""
        self._waits_no_more(pod)
        host = self.hosts.get(int(self.snapshot.pods.node[pod]))
        if host is None:
            self._start_later(pod)
        else:
            host.took(pod)

    def starts(self, pod: int, seconds: float) -> None:
        """A node that is no machine begins to pull a pod's image in so many seconds; none is there before."""
        template = self._templates[pod]
        self._starts_in(seconds + template.pull_seconds + template.start_seconds, pod)

    def stop(self, pod: int, cause: Cause | None, *, grace: float | None = None) -> bool:
        """Delete a pod, with grace if it runs; False if it is going already. With a cause it counts as an eviction."""
        table, now = self.snapshot.pods, self.clock.now
        if not np.isnan(table.deleted[pod]):
            return False
        saved, lost = self._work(pod)
        node = int(table.node[pod])
        if cause is None:
            self.ledger.count("lost_cpu_seconds", lost)
        elif node >= 0:
            self._record(pod, cause, lost)
        self.snapshot.set_pod_deleted(pod, now)
        self._waits_no_more(pod)
        started = table.phase[pod] == RUNNING
        if self.pods.offline[pod]:
            self.meter.stop(pod, now)
        token = int(self.pods.token[pod])
        self.controllers[pod].stopping(pod, saved=saved)
        if node < 0 or not started:
            self._remove(pod)
        elif self.nodes.up[node]:
            patience = float(table.grace[pod]) if grace is None else grace
            delay = min(patience, self._templates[pod].shutdown_seconds)
            self.clock.after(delay, lambda: self._exited(pod, token))
        return True

    def lose(self, pod: int, cause: Cause) -> None:
        """A pod is gone with its node, or by the say of a node that is no machine."""
        if np.isnan(self.snapshot.pods.deleted[pod]):
            saved, lost = self._work(pod)
            self._record(pod, cause, lost)
            self.snapshot.set_pod_deleted(pod, self.clock.now)
            self.controllers[pod].stopping(pod, saved=saved)
        self._remove(pod)

    def halt(self, pod: int) -> None:
        """A pod's machine no longer runs; the API has not noticed."""
        self.meter.stop(pod, self.clock.now)

    def unready(self, pod: int) -> None:
        """A pod's node no longer answers."""
        table = self.snapshot.pods
        self.changed[self.controllers[pod]] = None
        self.snapshot.set_pod_status(pod, phase=int(table.phase[pod]), ready=False, started=float(table.started[pod]))

    def restart(self, pod: int) -> None:
        """A machine runs again: its kubelet starts a pod's containers anew, or ends what was deleted meanwhile."""
        if not np.isnan(self.snapshot.pods.deleted[pod]):
            self._remove(pod)
            return
        self.unready(pod)
        saved, lost = self._work(pod)
        self.ledger.count("lost_cpu_seconds", lost)
        self.pods.progress[pod] = self.pods.saved[pod] = saved
        self._start_later(pod)

    def finish_by(self, limit: float) -> None:
        """Have the jobs' pods that will be done before `limit` end then."""
        pods, rows = self.pods, self.meter.running()
        rows = rows[pods.offline[rows]]
        demand, given = pods.demand[rows], pods.given[rows]
        speed = np.divide(given, demand, out=np.ones(len(rows)), where=demand > 0)
        due = rows[pods.duration[rows] - pods.progress[rows] <= speed * (limit - self.clock.now) + 1e-9]
        for pod in due.tolist():
            self._finish_later(pod)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _describe(self, pod: int, template: PodTemplate, birth: Birth) -> None:
        """Fill a new pod's row of the columns beside the snapshot."""
        pods, shape = self.pods, self.snapshot.shape_of_pod(pod)
        pods.reserve(self.snapshot.pods.rows)
        cpu = next((shape.requests[each] for each in CPU_RESOURCES if shape.requests.get(each)), 0)
        memory = next((shape.requests[each] for each in MEMORY_RESOURCES if shape.requests.get(each)), 0)
        limit = next((shape.limits[each] for each in CPU_RESOURCES if each in shape.limits), np.inf)
        factor = 1.0 + template.spread * float(self.random.uniform(-1, 1)) if template.spread else 1.0
        pods.token[pod], pods.wanted[pod] = self._serial, birth.wanted
        pods.cpu_request[pod], pods.cpu_limit[pod], pods.weight[pod] = cpu, limit, max(cpu * 1.024, MIN_WEIGHT)
        pods.cpu[pod], pods.cpu_curve[pod] = self._follow(template.cpu, cpu * factor)
        pods.memory_request[pod] = memory
        pods.memory[pod], pods.memory_curve[pod] = self._follow(template.memory, memory * factor)
        pods.best_effort[pod] = self.snapshot.classes.qos[self.snapshot.pods.cls[pod]] == QoS.BE
        pods.offline[pod] = birth.duration < np.inf
        pods.daemon[pod] = birth.owner.kind == "DaemonSet"
        pods.service[pod] = not (pods.offline[pod] or pods.daemon[pod] or pods.best_effort[pod])
        pods.progress[pod] = pods.saved[pod] = birth.progress
        pods.duration[pod], pods.checkpoint[pod], pods.fails[pod] = birth.duration, birth.checkpoint, birth.fails

    def _follow(self, curve: object, amount: float) -> tuple[float, int]:
        """An amount and the curve that it is multiplied with; all constants share one."""
        if isinstance(curve, Constant):
            return amount * curve.level, self.meter.curves.add(Constant(1.0))
        return amount, self.meter.curves.add(curve)  # type: ignore[arg-type] # every curve of a template is one

    def _start_later(self, pod: int) -> None:
        template = self._templates[pod]
        node = self.snapshot.nodes.names[int(self.snapshot.pods.node[pod])]
        image = (node, tuple(each.image for each in template.spec.containers))
        pull = 0.0 if image in self._pulled else template.pull_seconds
        self._pulled.add(image)
        self._starts_in(pull + template.start_seconds, pod)

    def _starts_in(self, seconds: float, pod: int) -> None:
        token = int(self.pods.token[pod])
        self.clock.after(seconds, lambda: self._started(pod, token))

    def _waits_no_more(self, pod: int) -> None:
        self.pending.pop(pod, None)
        self._waiting.pop(pod, None)

    def _started(self, pod: int, token: int) -> None:
        table, now = self.snapshot.pods, self.clock.now
        node = int(table.node[pod]) if self._is(pod, token) else -1
        if node < 0 or not self.nodes.up[node] or not np.isnan(table.deleted[pod]) or self.pods.running[pod]:
            return
        if table.phase[pod] == PENDING:
            self.ledger.waits.append(self._wait(pod, now))
        self.snapshot.set_pod_status(pod, phase=RUNNING, ready=True, started=now)
        self.meter.start(pod, now)
        if self.pods.offline[pod] and now + self.meter.seconds_left(pod) <= self.next_tick:
            self._finish_later(pod)
        self.changed[self.controllers[pod]] = None
        self.controllers[pod].started(pod)

    def _finish_later(self, pod: int) -> None:
        token = int(self.pods.token[pod])
        self.clock.after(self.meter.seconds_left(pod), lambda: self._finished(pod, token))

    def _finished(self, pod: int, token: int) -> None:
        if not self._is(pod, token) or not self.pods.running[pod]:
            return
        saved, lost = self._work(pod)
        self.meter.stop(pod, self.clock.now)
        failed, controller = bool(self.pods.fails[pod]), self.controllers[pod]
        if failed:
            self.ledger.count("lost_cpu_seconds", lost)
        self._clear(pod)
        controller.finished(pod, failed=failed, saved=saved)
        self.room_grew()

    def _exited(self, pod: int, token: int) -> None:
        if self._is(pod, token):
            self._remove(pod)

    def _remove(self, pod: int) -> None:
        """Forget a pod that is stopped."""
        self.meter.stop(pod, self.clock.now)
        controller, freed = self.controllers[pod], self.snapshot.pods.node[pod] >= 0
        self._waits_no_more(pod)
        self._clear(pod)
        controller.gone(pod)
        if freed:
            self.room_grew()

    def _clear(self, pod: int) -> None:
        host = self.hosts.get(int(self.snapshot.pods.node[pod]))
        if host is not None:
            host.gave(pod)
        self.changed[self.controllers[pod]] = None
        self.snapshot.remove_pod(self.snapshot.pods.keys[pod])
        self.pods.clear(pod)
        del self.controllers[pod], self._templates[pod]

    def _is(self, pod: int, token: int) -> bool:
        return bool(self.pods.token[pod] == token)

    def _work(self, pod: int) -> tuple[float, float]:
        """Of a job's pod: the progress (seconds) that is saved, and the CPU-seconds of work that are lost."""
        pods = self.pods
        if not pods.offline[pod]:
            return 0.0, 0.0
        if pods.running[pod]:
            self.meter.settle(self.clock.now, np.array([pod]))
        done, every = float(pods.progress[pod]), float(pods.checkpoint[pod])
        saved = max(done // every * every if every > 0 else 0.0, float(pods.saved[pod]))
        return saved, (done - saved) * float(min(pods.cpu[pod], pods.cpu_limit[pod])) / 1000

    def _record(self, pod: int, cause: Cause, lost: float) -> None:
        if self.pods.daemon[pod]:
            return  # it lives and dies with its node
        table, node = self.snapshot.pods, int(self.snapshot.pods.node[pod])
        name = self.snapshot.nodes.names[node] if node >= 0 else ""
        workload = self.controllers[pod].root
        self.ledger.evicted(
            Eviction(self.clock.now, table.keys[pod], workload, name, cause.by, cause.code, cause.message, lost)
        )

    def _wait(self, pod: int, started: float) -> Wait:
        wanted = float(self.pods.wanted[pod])
        workload, offline = str(self.controllers[pod].root), bool(self.pods.offline[pod])
        until = self.clock.now if np.isnan(started) else started
        return Wait(workload, offline, wanted, started, until - wanted)

    def open_waits(self) -> list[Wait]:
        """Waits of the pods that have not started yet."""
        table = self.snapshot.pods
        rows = table.indices()
        rows = rows[(table.phase[rows] == PENDING) & np.isnan(table.deleted[rows])]
        return [self._wait(pod, np.nan) for pod in rows.tolist()]
