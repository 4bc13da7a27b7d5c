"""What a simulation is made of: pod templates with their usage, services, jobs, cron jobs and disruption budgets."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from neaptide.model.objects import PodSpec
from neaptide.simulator.curves import Constant, Curve

Period = Annotated[float, Meta(ge=0.1, le=1e9)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Rate = Annotated[float, Meta(ge=0, le=1e6)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Several = Annotated[int, Meta(ge=1, le=1_000_000)]
ServiceKind = Literal["Deployment", "StatefulSet", "DaemonSet"]
ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]


class PodTemplate(Struct, frozen=True, kw_only=True):
    """A pod's template, and how its pods behave.

    Attributes:
        spec, labels, annotations: as in the API.
        cpu, memory: usage as a fraction of what the pod requests; a CPU limit cuts it off.
        spread: pods differ by a factor drawn from 1 - spread to 1 + spread.
        pull_seconds: a node needs this long for an image that it has not had yet.
        start_seconds: from there until the pod is ready.
        shutdown_seconds: from SIGTERM until its containers have exited, if the grace period is not over before.
    """

    spec: PodSpec
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    cpu: Curve = Constant(1.0)
    memory: Curve = Constant(1.0)
    spread: float = 0.0
    pull_seconds: float = 20.0
    start_seconds: float = 5.0
    shutdown_seconds: float = 5.0


class Scale(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of replicas, `after` seconds from the start."""

    after: Seconds
    replicas: Count


class Service(Struct, frozen=True, kw_only=True):
    """Pods that run until they are stopped. A DaemonSet has no replicas: one pod on each node that admits it."""

    name: str
    template: PodTemplate
    kind: ServiceKind = "Deployment"
    namespace: str = "default"
    replicas: int = 1
    scale: tuple[Scale, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Job(Struct, frozen=True, kw_only=True):
    """Pods that finish, each after `duration` seconds in which it got all the CPU that it wanted; with less, later.

    Attributes:
        after: when it arrives, in seconds from the start; a CronJob's jobs arrive when it fires.
        checkpoint_seconds: a stopped pod's successor goes on from the last whole multiple; 0: it begins anew.
        failure_rate: the probability that a pod fails, at a time of its run drawn evenly; more than `backoff_limit`
            failures end the job. Evictions are no failures (podFailurePolicy ignores DisruptionTarget).
    """

    name: str
    template: PodTemplate
    duration: float
    namespace: str = "default"
    after: float = 0.0
    parallelism: int = 1
    completions: int = 1
    backoff_limit: int = 6
    suspend: bool = False
    checkpoint_seconds: float = 0.0
    failure_rate: float = 0.0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class CronJob(Struct, frozen=True, kw_only=True):
    """Makes a job whenever its schedule (five fields of cron) says so."""

    name: str
    schedule: str
    job: Job
    namespace: str = "default"
    time_zone: str = "UTC"
    concurrency_policy: ConcurrencyPolicy = "Allow"
    suspend: bool = False
