"""CronJob: a job at every time of its schedule, as its concurrency policy allows."""

from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.problems import FieldError
from neaptide.simulator.cluster import Cause, Cluster
from neaptide.simulator.controllers.base import Owner
from neaptide.simulator.controllers.job import JobController, JobEnded
from neaptide.simulator.templates import CronJob, Job

MakeJob = Callable[[Job, objects.OwnerReference | None, JobEnded | None], JobController]


class CronJobController(Owner):
    """Makes jobs with `make_job(job, its owner, whom to tell that it ended)`. Raises FieldError where the schedule cannot be read."""

    kind = "CronJob"

    def __init__(self, cluster: Cluster, cron: CronJob, make_job: MakeJob) -> None:
        super().__init__(
            cluster,
            name=cron.name,
            namespace=cron.namespace,
            labels=cron.job.labels,
            annotations=cron.job.annotations,
        )
        self._cron, self._make_job = cron, make_job
        self.suspended = cron.suspend
        self._jobs: list[JobController] = []
        self._times = times(cron.schedule, cron.time_zone, cluster.clock.now)
        self.publish()
        self._next()

    def suspend(self, cause: Cause) -> None:
        """Make no more jobs, and suspend those that run."""
        self.suspended = True
        self.publish()
        for job in self._jobs:
            job.suspend(cause)

    def resume(self) -> None:
        self.suspended = False
        self.publish()
        for job in self._jobs:
            job.resume()

    def desired(self) -> int:
        """How many pods there should be now."""
        return sum(job.desired() for job in self._jobs)

    def publish(self) -> None:
        """Write the object into the snapshot."""
        spec = objects.WorkloadSpec(
            suspend=self.suspended, schedule=self._cron.schedule, time_zone=self._cron.time_zone
        )
        self.write(spec, objects.WorkloadStatus(active=tuple({"name": job.meta.name} for job in self._jobs)))

    def _next(self) -> None:
        moment = next(self._times, None)
        if moment is not None:
            self.cluster.clock.at(moment, self._fire)

    def _fire(self) -> None:
        self._next()
        policy = self._cron.concurrency_policy
        if self.suspended or (policy == "Forbid" and self._jobs):
            return
        if policy == "Replace":
            for running in list(self._jobs):
                running.cancel()
        name = f"{self._cron.name}-{int(self.cluster.clock.now // 60)}"
        job = replace(self._cron.job, name=name, namespace=self._cron.namespace)
        made = self._make_job(job, self.reference, self._ended)
        if not made.state:
            self._jobs.append(made)
            self.publish()

    def _ended(self, job: JobController) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
            self.publish()


def times(schedule: str, time_zone: str, after: float) -> Iterator[float]:
    """When a schedule fires after a time, in seconds since the epoch. Raises FieldError for what is none."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise FieldError("time_zone", time_zone, "an IANA time zone such as Europe/Berlin") from error
    try:
        moments = CronSim(schedule, datetime.fromtimestamp(after, zone))
    except (CronSimError, ValueError) as error:
        raise FieldError("schedule", schedule, "a cron expression of five fields such as 0 22 * * *") from error
    return (moment.timestamp() for moment in moments)
