"""Scenarios: what a run is made of, as YAML. The format is described in docs/simulator.md.

`parse` checks shapes, ranges and names; `setup.build` makes the world. Durations are seconds, amounts are Kubernetes
quantities.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from neaptide.loop import Mode
from neaptide.model.objects import LabelSelector, PodSpec, Taint, Toleration
from neaptide.model.problems import FieldError
from neaptide.model.yaml_text import YamlError, documents
from neaptide.policies.arbiter import Budgets
from neaptide.simulator.autoscaler import AutoscalerSettings
from neaptide.simulator.curves import AnyCurve, Constant, Level
from neaptide.simulator.machines import CloudSettings
from neaptide.simulator.templates import (
    ConcurrencyPolicy,
    Count,
    Period,
    Rate,
    Scale,
    Seconds,
    ServiceKind,
    Several,
    Share,
)

Tier = Literal["prod", "mid", "batch", "free"]
FaultKind = Literal["crash", "interrupt", "metrics-missing", "metrics-stale"]
Quantity = str | int | float
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Tick = Annotated[float, Meta(ge=1, le=1e6)]
Name = Annotated[str, Meta(min_length=1, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
CapacityType = Literal["on-demand", "spot"]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the file; a field that it does not know is an error."""


class OfferingSpec(_Part, frozen=True, kw_only=True):
    """A kind of node that a pool may buy, and how many of it are there from the start. No price: looked up, else unknown."""

    instance_type: str
    allocatable: dict[str, Quantity]
    capacity_type: CapacityType = "on-demand"
    zone: str = "zone-a"
    price_per_hour: Rate | None = None
    nodes: Count = 0


class PoolSpec(_Part, frozen=True, kw_only=True):
    """Nodes of a kind; `reserved` is capacity less allocatable, `system` is what a node uses besides its pods."""

    name: Name
    offerings: Annotated[tuple[OfferingSpec, ...], Meta(min_length=1)]
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    reserved: dict[str, Quantity] = {}
    system: dict[str, Quantity] = {}
    minimum: Count = 0
    maximum: Count = 1_000_000


class _PodFields(_Part, frozen=True, kw_only=True):
    """A pod's template in short: what it asks for, by tier, and how it behaves (see templates.PodTemplate)."""

    name: Name
    namespace: Name = "default"
    tier: Tier = "prod"
    cpu: Quantity | None = None
    memory: Quantity | None = None
    limits: bool = False
    """Whether the limits are the requests; reclaimed resources always have them."""
    spec: PodSpec | None = None
    """The whole spec in place of cpu and memory."""
    priority: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    grace_seconds: Annotated[int, Meta(ge=0)] | None = None
    usage: AnyCurve = Constant(1.0)
    memory_usage: Level = 1.0
    spread: Share = 0.0
    pull_seconds: Seconds = 20.0
    start_seconds: Seconds = 5.0
    shutdown_seconds: Seconds = 5.0


class ServiceSpec(_PodFields, frozen=True, kw_only=True):
    kind: ServiceKind = "Deployment"
    replicas: Count = 1
    scale: tuple[Scale, ...] = ()
    min_available: int | str | None = None
    """Either of these makes a PodDisruptionBudget."""
    max_unavailable: int | str | None = None


class JobSpec(_PodFields, frozen=True, kw_only=True):
    duration: Positive
    after: Seconds = 0.0
    parallelism: Several = 1
    completions: Several | None = None
    """As many as parallelism, unless it is given."""
    backoff_limit: Count = 6
    suspend: bool = False
    checkpoint_seconds: Seconds = 0.0
    failure_rate: Share = 0.0


class ArrivalsSpec(JobSpec, frozen=True, kw_only=True):
    """Jobs of one kind that arrive at random, on average so many an hour, from `after` until `until`."""

    per_hour: Annotated[float, Meta(gt=0, le=1e6)]
    until: Positive | None = None


class CronJobSpec(JobSpec, frozen=True, kw_only=True):
    schedule: str
    time_zone: str = "UTC"
    concurrency_policy: ConcurrencyPolicy = "Allow"


class TraceServices(_Part, frozen=True, kw_only=True):
    """Services drawn from the packaged traces."""

    count: Count
    seed: int = 0
    most_replicas: Several = 40
    max_unavailable: int | str | None = None


class TraceJobs(_Part, frozen=True, kw_only=True):
    """Jobs drawn from the packaged traces, at the tier that is named."""

    count: Count
    seed: int = 0
    tier: Tier = "batch"
    checkpoint_seconds: Seconds = 0.0
    suspend: bool = False
    longest: Positive | None = None
    """Longer jobs are cut to this duration."""


class VirtualNodeSpec(_Part, frozen=True, kw_only=True):
    """A virtual node (see virtual.VirtualNodeSettings)."""

    name: Name
    labels: dict[str, str] = {}
    cpu: Quantity = 3000
    memory: Quantity = "12Ti"
    pods: Several = 3000
    tariff: Literal["eci", "fargate"] = "eci"
    spot: bool = False
    start_seconds: Seconds = 30.0
    rate: Annotated[float, Meta(gt=0, le=1e6)] = 20.0
    burst: Several = 100
    stock: Several = 1_000_000
    reclaim_seconds: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    notice_seconds: Seconds = 180.0


class BudgetSpec(_Part, frozen=True, kw_only=True):
    """A PodDisruptionBudget of pods by their labels."""

    name: Name
    selector: LabelSelector
    namespace: Name = "default"
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    unhealthy_pod_eviction_policy: Literal["IfHealthyBudget", "AlwaysAllow"] = "IfHealthyBudget"


class FaultSpec(_Part, frozen=True, kw_only=True):
    """Something that goes wrong for some nodes (of a pool, or any), drawn at random when it happens."""

    kind: FaultKind
    after: Seconds
    nodes: Several = 1
    pool: str = ""
    lasts: Positive | None = None
    """When a crashed node or its metrics come back; never, unless it is given."""


class RulesSpec(_Part, frozen=True, kw_only=True):
    """Settings of the node rules that are on, by their names in neaptide.noderules; one that is absent is off."""

    cpu_suppress: dict[str, Any] | None = None
    cpu_evict: dict[str, Any] | None = None
    memory_evict: dict[str, Any] | None = None


class PolicySpec(_Part, frozen=True, kw_only=True):
    """A policy by name, its mode, and its spec as in the API (camelCase)."""

    name: str
    mode: Mode = Mode.RECOMMEND
    spec: dict[str, Any] = {}


class Scenario(_Part, frozen=True, kw_only=True):
    """A whole run."""

    name: str = "scenario"
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    duration: Positive = 86_400.0
    tick: Tick = 60.0
    seed: int = 0
    loop_period: Tick = 60.0
    scheduler_period: Period = 1.0
    scheduler: Literal["engine", "cycle"] = "engine"
    """What schedules: the engine alone, class by class, or the whole scheduling cycle of docs/scheduler, with preemption, gangs and the like."""
    profile: dict[str, Any] = {}
    """The scheduler's profile, as docs/placement (of a cycle: docs/scheduler) describes it; empty: the default one."""
    pools: Annotated[tuple[PoolSpec, ...], Meta(min_length=1)]
    virtual_nodes: tuple[VirtualNodeSpec, ...] = ()
    services: tuple[ServiceSpec, ...] = ()
    jobs: tuple[JobSpec, ...] = ()
    arrivals: tuple[ArrivalsSpec, ...] = ()
    cron_jobs: tuple[CronJobSpec, ...] = ()
    trace_services: TraceServices | None = None
    trace_jobs: TraceJobs | None = None
    disruption_budgets: tuple[BudgetSpec, ...] = ()
    faults: tuple[FaultSpec, ...] = ()
    cloud: CloudSettings = CloudSettings()
    autoscaler: AutoscalerSettings = AutoscalerSettings()
    node_rules: RulesSpec = RulesSpec()
    policies: tuple[PolicySpec, ...] = ()
    budgets: Budgets = Budgets()


def parse(text: str) -> Scenario:
    """A scenario from YAML. Raises FieldError: the field's path, its value, and what is accepted."""
    try:
        found = documents(text)
    except YamlError as error:
        raise FieldError("", str(error), "one YAML document") from error
    if len(found) != 1 or not isinstance(found[0], dict):
        raise FieldError("", f"{len(found)} documents", "one YAML document, a mapping of the fields of a scenario")
    scenario: Scenario = converted(found[0], Scenario)
    for field in (
        "pools",
        "virtual_nodes",
        "services",
        "jobs",
        "arrivals",
        "cron_jobs",
        "disruption_budgets",
        "policies",
    ):
        _refuse_twins(field, getattr(scenario, field))
    return scenario


def converted(raw: Any, kind: Any, path: str = "") -> Any:  # noqa: ANN401 - plain values to a type
    """Plain values as a type. Raises FieldError with the path of what does not fit below `path`."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        match = _PROBLEM.fullmatch(str(error))
        if match is None:
            raise FieldError(path, raw, str(error)) from error
        what, below = match["what"], match["path"] or ""
        cause = error.__cause__
        if isinstance(cause, FieldError):  # a part that checks more than types
            where = ".".join(part for part in (path, below, cause.field) if part)
            raise FieldError(where, cause.value, cause.accepted) from error
        unknown = _UNKNOWN.search(what)
        if unknown is not None:
            below = f"{below}.{unknown[1]}".removeprefix(".")
            what = "no field of that name"
        where = ".".join(part for part in (path, below) if part)
        raise FieldError(where, _at(raw, below), what.removeprefix("Expected ")) from error


_PROBLEM = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(.*)`")


def _at(value: Any, path: str) -> Any:  # noqa: ANN401 - plain values
    """What stands at a path such as `pools[0].name`; empty where nothing does."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError):
            return ""
    return value


def _refuse_twins(field: str, items: Iterable[Any]) -> None:
    seen = set()
    for position, item in enumerate(items):
        key = (getattr(item, "namespace", ""), getattr(item, "kind", ""), item.name)
        if key in seen:
            raise FieldError(f"{field}[{position}].name", item.name, "a name that no other of its kind has")
        seen.add(key)
