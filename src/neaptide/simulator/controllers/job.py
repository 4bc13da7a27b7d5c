"""Job: pods until `completions` of them have succeeded, `parallelism` at a time, with Kubernetes' back-off after failures."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.columns import RUNNING
from neaptide.simulator.cluster import Birth, Cause, Cluster
from neaptide.simulator.controllers.base import Owner
from neaptide.simulator.ledger import JobRecord, Wait
from neaptide.simulator.templates import Job

FIRST_BACKOFF, MAX_BACKOFF = 10.0, 360.0


class JobController(Owner):
    """A job from its arrival to its end. `ended` is called once, with the controller."""

    kind = "Job"

    def __init__(
        self,
        cluster: Cluster,
        job: Job,
        *,
        above: objects.OwnerReference | None = None,
        ended: "JobEnded" = lambda _: None,
    ) -> None:
        super().__init__(
            cluster,
            name=job.name,
            namespace=job.namespace,
            labels=job.labels,
            annotations=job.annotations,
            above=above,
        )
        self._job, self._ended = job, ended
        self.suspended, self.state = job.suspend, ""
        self._arrived, self._first_start, self._finished = cluster.clock.now, np.nan, np.nan
        self._succeeded = self._failures = 0
        self._active: dict[int, None] = {}
        self._open: list[tuple[float, float]] = []
        """Pods that are wanted and not there: since when, and with how much progress."""
        self._held_until = 0.0
        self.publish()
        self._reconcile()

    def suspend(self, cause: Cause) -> None:
        """Stop the pods, and start none."""
        self.suspended = True
        self.publish()
        for pod in list(self._active):
            self.cluster.stop(pod, cause)

    def resume(self) -> None:
        self.suspended = False
        self.publish()
        self._reconcile()

    def scale(self, replicas: int) -> None:
        """Run another number of pods at once: of too many the latest are stopped, and their work waits for its turn."""
        self._job = replace(self._job, parallelism=replicas)
        self.publish()
        for pod in list(self._active)[self.desired() :]:
            self.cluster.stop(pod, None)
        self._reconcile()

    def scaled(self) -> int:
        """How many pods it runs at once."""
        return self._job.parallelism

    def cancel(self) -> None:
        """Delete the job with its pods."""
        self._end("Cancelled")

    def desired(self) -> int:
        """How many pods there should be now."""
        return 0 if self.suspended or self.state else min(self._job.parallelism, self._left())

    def publish(self) -> None:
        """Write the object into the snapshot, unless the job is over."""
        if self.state:
            return
        job = self._job
        pods = job.template
        template = objects.PodTemplate(
            objects.Metadata(labels=pods.labels),
            objects.TemplateSpec(pods.spec.priority, pods.spec.priority_class_name),
        )
        spec = objects.WorkloadSpec(
            suspend=self.suspended, parallelism=job.parallelism, completions=job.completions, template=template
        )
        active, succeeded, failed = len(self._active), self._succeeded, self._failures
        self.write(spec, objects.WorkloadStatus(active=active, succeeded=succeeded, failed=failed))

    def record(self) -> JobRecord:
        """What has become of it so far."""
        waiting = "Suspended" if self.suspended else "Waiting"
        state = self.state or ("Running" if self._runs() else waiting)
        job = self._job
        return JobRecord(
            job.name,
            job.namespace,
            self._arrived,
            self._first_start,
            self._finished,
            state,
            job.completions,
            self._succeeded,
            self._failures,
        )

    def open_waits(self) -> list[Wait]:
        """Waits of the pods that are wanted and held back."""
        now = self.cluster.clock.now
        wanted = self._open[: max(self._job.parallelism - len(self._active), 0)]
        return [Wait(str(self.root), True, since, np.nan, now - since) for since, _ in wanted]

    def started(self, pod: int) -> None:
        del pod
        if np.isnan(self._first_start):
            self._first_start = self.cluster.clock.now

    def finished(self, pod: int, *, failed: bool, saved: float) -> None:
        del self._active[pod]
        if not failed:
            self._succeeded += 1
            if self._left() == 0:
                self._end("Complete")
                return
        else:
            self._failures += 1
            if self._failures > self._job.backoff_limit:
                self._end("Failed")
                return
            self._open.append((self.cluster.clock.now, saved))
            pause = min(FIRST_BACKOFF * 2 ** (self._failures - 1), MAX_BACKOFF)
            self._held_until = self.cluster.clock.now + pause
            self.cluster.clock.at(self._held_until, self._reconcile)
        self._reconcile()

    def stopping(self, pod: int, *, saved: float) -> None:
        self._active.pop(pod, None)
        if self.state:
            return
        ran = self.cluster.snapshot.pods.phase[pod] == RUNNING
        since = self.cluster.clock.now if ran else float(self.cluster.pods.wanted[pod])
        self._open.append((since, saved))
        self._reconcile()

    def gone(self, pod: int) -> None:
        del pod

    def _left(self) -> int:
        return self._job.completions - self._succeeded

    def _runs(self) -> bool:
        ready = self.cluster.snapshot.pods.ready
        return any(ready[pod] for pod in self._active)

    def _reconcile(self) -> None:
        if self.state:
            return
        now, wanted = self.cluster.clock.now, min(self._job.parallelism, self._left())
        while len(self._active) + len(self._open) < wanted:
            self._open.append((now, 0.0))
        if self.suspended or now < self._held_until:
            return
        room = max(wanted - len(self._active), 0)
        slots, self._open = self._open[:room], self._open[room:]
        for since, progress in slots:
            self._active[self.cluster.create(self._job.template, self._birth(since, progress), self)] = None

    def _birth(self, since: float, progress: float) -> Birth:
        job, random = self._job, self.cluster.random
        fails = job.failure_rate > 0 and random.random() < job.failure_rate
        end = progress + (job.duration - progress) * random.random() if fails else job.duration
        return Birth(
            f"{job.name}-{self.cluster.suffix()}",
            job.namespace,
            self.reference,
            since,
            progress,
            end,
            job.checkpoint_seconds,
            fails,
        )

    def _end(self, state: str) -> None:
        self.state, self._finished = state, self.cluster.clock.now
        self._open = []
        for pod in list(self._active):
            self.cluster.stop(pod, None)
        self.cluster.ledger.jobs.append(self.record())
        if state == "Complete":
            self.cluster.ledger.count("jobs_finished", 1)
        self.cluster.snapshot.workloads.remove(self.kind, self.meta.namespace, self.meta.name)
        self._ended(self)


JobEnded = Callable[[JobController], None]
