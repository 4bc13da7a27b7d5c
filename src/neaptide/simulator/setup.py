"""From a scenario to a world: every part of the file as what the simulator works with, checked before anything runs."""

from collections.abc import Mapping
from datetime import UTC
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.offerings import Offering
from neaptide.model.problems import FieldError
from neaptide.model.quantity import ACCEPTED, for_resource
from neaptide.model.shapes import requirements_of, shape_of
from neaptide.noderules.cpu_evict import CpuEvictSettings
from neaptide.noderules.cpu_suppress import SuppressSettings
from neaptide.noderules.memory_evict import MemoryEvictSettings
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.nodes import node_price
from neaptide.simulator import workloads
from neaptide.simulator.agents import Rules
from neaptide.simulator.budgets import scaled
from neaptide.simulator.curves import Constant, Curve, Real
from neaptide.simulator.machines import (
    CAPACITY_TYPE_LABEL,
    INSTANCE_TYPE_LABEL,
    POOL_LABEL,
    ZONE_LABEL,
    Pool,
    quantity,
)
from neaptide.simulator.scenario import (
    ArrivalsSpec,
    BudgetSpec,
    FaultSpec,
    JobSpec,
    PoolSpec,
    Quantity,
    RulesSpec,
    Scenario,
    ServiceSpec,
    Tier,
    VirtualNodeSpec,
    converted,
)
from neaptide.simulator.templates import CronJob, Job, PodTemplate, Service
from neaptide.simulator.traces.packaged import cpu_series, openb
from neaptide.simulator.virtual import VirtualNodeSettings
from neaptide.simulator.world import MakePlacer, Settings, World


class _Tier(NamedTuple):
    """How the pods of a tier ask for CPU and memory, and what marks them."""

    cpu: str
    memory: str
    priority: int | None
    labels: dict[str, str]


TIERS: dict[Tier, _Tier] = {
    "prod": _Tier("cpu", "memory", None, {}),
    "mid": _Tier(
        "kubernetes.io/mid-cpu",
        "kubernetes.io/mid-memory",
        7500,
        {"koordinator.sh/qosClass": "LS", "koordinator.sh/priority-class": "koord-mid"},
    ),
    "batch": _Tier(
        "kubernetes.io/batch-cpu",
        "kubernetes.io/batch-memory",
        5500,
        {"koordinator.sh/qosClass": "BE", "koordinator.sh/priority-class": "koord-batch"},
    ),
    "free": _Tier(
        "kubernetes.io/batch-cpu",
        "kubernetes.io/batch-memory",
        3500,
        {"koordinator.sh/qosClass": "BE", "koordinator.sh/priority-class": "koord-free"},
    ),
}


def build(
    scenario: Scenario, placer: MakePlacer, catalogue: Catalogue | None = None, profile: CycleProfile | None = None
) -> World:
    """The world at the start of a scenario, under the scheduling cycle where it has a profile.

    Prices that the file leaves out are looked up. Raises FieldError.
    """
    settings = Settings(
        start=(scenario.start if scenario.start.tzinfo else scenario.start.replace(tzinfo=UTC)).timestamp(),
        tick=scenario.tick,
        seed=scenario.seed,
        scheduler_period=scenario.scheduler_period,
        cloud=scenario.cloud,
        autoscaler=scenario.autoscaler,
        rules=rules(scenario.node_rules),
    )
    pools = [pool(each, catalogue, f"pools[{row}]") for row, each in enumerate(scenario.pools)]
    world = World(settings, pools, placer, profile)
    for each, spec in zip(pools, scenario.pools, strict=True):
        for offering, of in zip(each.offerings, spec.offerings, strict=True):
            world.add_nodes(offering, of.nodes)
    for row, virtual in enumerate(scenario.virtual_nodes):
        world.add_virtual_node(_virtual_node(virtual, f"virtual_nodes[{row}]"))
    world.add_budgets(_budgets(scenario))
    for row, service in enumerate(scenario.services):
        world.add_service(_service(service, f"services[{row}]"))
    _add_trace_services(world, scenario)
    _add_jobs(world, scenario)
    for fault in scenario.faults:
        world.clock.at(settings.start + fault.after, partial(_strike, world, fault))
    return world


def pool(spec: PoolSpec, catalogue: Catalogue | None, path: str) -> Pool:
    """A pool with its offerings. Raises FieldError."""
    reserved, system = _amounts(spec.reserved, f"{path}.reserved"), _amounts(spec.system, f"{path}.system")
    offerings = []
    for row, each in enumerate(spec.offerings):
        allocatable = _amounts(each.allocatable, f"{path}.offerings[{row}].allocatable")
        for needed in ("cpu", "memory", "pods"):
            if allocatable.get(needed, 0) <= 0:
                raise FieldError(f"{path}.offerings[{row}].allocatable.{needed}", "", "an amount above 0")
        labels = spec.labels | {
            POOL_LABEL: spec.name,
            INSTANCE_TYPE_LABEL: each.instance_type,
            CAPACITY_TYPE_LABEL: each.capacity_type,
            ZONE_LABEL: each.zone,
        }
        price = each.price_per_hour
        if price is None and catalogue is not None:
            cpu, memory = (allocatable[name] + reserved.get(name, 0) for name in ("cpu", "memory"))
            price = node_price(catalogue, labels, cpu_milli=cpu, memory_bytes=memory)
        offerings.append(Offering(each.instance_type, each.capacity_type, each.zone, price, allocatable, labels))
    return Pool(
        name=spec.name,
        offerings=tuple(offerings),
        taints=spec.taints,
        reserved=reserved,
        system_cpu=system.get("cpu", 0),
        system_memory=system.get("memory", 0),
        minimum=spec.minimum,
        maximum=spec.maximum,
    )


def _virtual_node(spec: VirtualNodeSpec, path: str) -> VirtualNodeSettings:
    return VirtualNodeSettings(
        name=spec.name,
        labels=spec.labels,
        cpu_milli=_amount("cpu", spec.cpu, f"{path}.cpu"),
        memory_bytes=_amount("memory", spec.memory, f"{path}.memory"),
        pods=spec.pods,
        tariff=spec.tariff,
        spot=spec.spot,
        start_seconds=spec.start_seconds,
        rate=spec.rate,
        burst=spec.burst,
        stock=spec.stock,
        reclaim_seconds=spec.reclaim_seconds,
        notice_seconds=spec.notice_seconds,
    )


def rules(spec: RulesSpec) -> Rules:
    """The node rules that are on. Raises FieldError."""
    return Rules(
        _settings(SuppressSettings, spec.cpu_suppress, "node_rules.cpu_suppress"),
        _settings(CpuEvictSettings, spec.cpu_evict, "node_rules.cpu_evict"),
        _settings(MemoryEvictSettings, spec.memory_evict, "node_rules.memory_evict"),
    )


def template(spec: ServiceSpec | JobSpec, path: str) -> PodTemplate:
    """A pod's template from its short form. Raises FieldError for what no scheduler could count."""
    tier = TIERS[spec.tier]
    if (spec.spec is None) == (spec.cpu is None and spec.memory is None):
        raise FieldError(f"{path}.cpu", spec.cpu or "", "cpu and memory, or spec in their place")
    pod = spec.spec or _pod_spec(spec, tier, path)
    if spec.grace_seconds is not None:
        pod = replace(pod, termination_grace_period_seconds=spec.grace_seconds)
    priority = spec.priority if spec.priority is not None else pod.priority
    pod = replace(
        pod,
        priority=tier.priority if priority is None else priority,
        node_selector=pod.node_selector | spec.node_selector,
        tolerations=pod.tolerations + spec.tolerations,
    )
    labels = {"app": spec.name} | tier.labels | spec.labels
    made = PodTemplate(
        spec=pod,
        labels=labels,
        annotations=spec.annotations,
        cpu=spec.usage,
        memory=Constant(spec.memory_usage),
        spread=spec.spread,
        pull_seconds=spec.pull_seconds,
        start_seconds=spec.start_seconds,
        shutdown_seconds=spec.shutdown_seconds,
    )
    _check(made, path)
    return made


def _check(made: PodTemplate, path: str) -> None:
    """Have what a snapshot refuses refused here, with its place in the file."""
    if isinstance(made.cpu, Real) and made.cpu.name not in cpu_series():
        raise FieldError(f"{path}.usage.name", made.cpu.name, "one of " + ", ".join(sorted(cpu_series())))
    pod = objects.Pod(objects.Metadata(labels=made.labels), made.spec)
    try:
        shape_of(pod, requirements_of(pod)[1])
    except FieldError as error:
        raise FieldError(f"{path}.{error.field}", error.value, error.accepted) from error


def _pod_spec(spec: ServiceSpec | JobSpec, tier: _Tier, path: str) -> objects.PodSpec:
    requests = {}
    if spec.cpu is not None:
        # Reclaimed CPU is counted in milli as whole units, as Koordinator has it.
        milli = _amount("cpu", spec.cpu, f"{path}.cpu")
        requests[tier.cpu] = f"{milli}m" if tier.cpu == "cpu" else str(milli)
    if spec.memory is not None:
        requests[tier.memory] = str(_amount("memory", spec.memory, f"{path}.memory"))
    limits = requests if spec.limits or tier.cpu != "cpu" else {}
    container = objects.Container(
        name="main", image=f"{spec.namespace}/{spec.name}", resources=objects.Resources(requests, limits)
    )
    return objects.PodSpec(containers=(container,))


def _service(spec: ServiceSpec, path: str) -> Service:
    return Service(
        name=spec.name,
        template=template(spec, path),
        kind=spec.kind,
        namespace=spec.namespace,
        replicas=spec.replicas,
        scale=spec.scale,
        labels=spec.labels,
        annotations=spec.annotations,
    )


def _job(spec: JobSpec, path: str) -> Job:
    return Job(
        name=spec.name,
        template=template(spec, path),
        duration=spec.duration,
        namespace=spec.namespace,
        after=spec.after,
        parallelism=spec.parallelism,
        completions=spec.parallelism if spec.completions is None else spec.completions,
        backoff_limit=spec.backoff_limit,
        suspend=spec.suspend,
        checkpoint_seconds=spec.checkpoint_seconds,
        failure_rate=spec.failure_rate,
        labels=spec.labels,
        annotations=spec.annotations,
    )


def _add_jobs(world: World, scenario: Scenario) -> None:
    for row, spec in enumerate(scenario.jobs):
        world.add_job(_job(spec, f"jobs[{row}]"))
    for row, arrivals in enumerate(scenario.arrivals):
        job = _job(arrivals, f"arrivals[{row}]")
        for number, after in enumerate(_arrival_times(arrivals, scenario, row)):
            world.add_job(replace(job, name=f"{job.name}-{number:05d}", after=after))
    for row, cron in enumerate(scenario.cron_jobs):
        path = f"cron_jobs[{row}]"
        made = CronJob(
            name=cron.name,
            schedule=cron.schedule,
            job=_job(cron, path),
            namespace=cron.namespace,
            time_zone=cron.time_zone,
            concurrency_policy=cron.concurrency_policy,
            suspend=cron.suspend,
        )
        made = replace(made, job=replace(made.job, suspend=False))
        try:
            world.add_cron_job(made)
        except FieldError as error:
            raise FieldError(f"{path}.{error.field}", error.value, error.accepted) from error
    _add_trace_jobs(world, scenario)


def _arrival_times(spec: ArrivalsSpec, scenario: Scenario, row: int) -> list[float]:
    """A Poisson process of its own seed, so that other parts of a scenario do not change it."""
    random = np.random.default_rng([scenario.seed, row])
    end = scenario.duration if spec.until is None else spec.until
    count = random.poisson(max(end - spec.after, 0.0) / 3600 * spec.per_hour)
    return sorted(random.uniform(spec.after, max(end, spec.after), count).tolist())


def _add_trace_services(world: World, scenario: Scenario) -> None:
    chosen = scenario.trace_services
    if chosen is None:
        return
    for each in workloads.services(chosen.seed, chosen.count, openb(), most_replicas=chosen.most_replicas):
        if chosen.max_unavailable is not None:
            selector = objects.LabelSelector({"app": each.name})
            spec = BudgetSpec(name=each.name, selector=selector, max_unavailable=chosen.max_unavailable)
            world.add_budgets([_budget(spec, selector, "trace_services")])
        made = _from_trace(each, "prod", each.cpu, memory=each.memory)
        world.add_service(Service(name=each.name, template=made, replicas=each.replicas))


def _add_trace_jobs(world: World, scenario: Scenario) -> None:
    chosen = scenario.trace_jobs
    if chosen is None:
        return
    days = max(int(-(-scenario.duration // 86_400)), 1)
    for each in workloads.jobs(chosen.seed, chosen.count, openb(), days=days):
        job = Job(
            name=each.name,
            template=_from_trace(each, chosen.tier, Constant(1.0)),
            duration=min(each.duration, chosen.longest or np.inf),
            after=each.arrival,
            parallelism=each.parallelism,
            completions=each.parallelism,
            suspend=chosen.suspend,
            checkpoint_seconds=chosen.checkpoint_seconds,
        )
        world.add_job(job)


def _from_trace(
    each: workloads.ServiceTemplate | workloads.JobTemplate, tier_name: Tier, usage: Curve, *, memory: float = 1.0
) -> PodTemplate:
    tier = TIERS[tier_name]
    names = {tier.cpu: each.cpu_milli, tier.memory: each.memory_bytes}
    requests = {name: quantity(name, amount) for name, amount in names.items() if amount}
    resources = objects.Resources(requests, requests if tier.cpu != "cpu" else {})
    image = each.name if isinstance(each, workloads.ServiceTemplate) else "offline"
    container = objects.Container(name="main", image=image, resources=resources)
    app = {"app": each.name} if isinstance(each, workloads.ServiceTemplate) else {}
    return PodTemplate(
        spec=objects.PodSpec(containers=(container,), priority=tier.priority),
        labels=app | tier.labels,
        cpu=usage,
        memory=Constant(memory),
    )


def _budgets(scenario: Scenario) -> list[objects.PodDisruptionBudget]:
    found = [
        _budget(
            each,
            each.selector,
            f"disruption_budgets[{row}]",
            unready=each.unhealthy_pod_eviction_policy,
        )
        for row, each in enumerate(scenario.disruption_budgets)
    ]
    for row, service in enumerate(scenario.services):
        if service.min_available is not None or service.max_unavailable is not None:
            selector = objects.LabelSelector({"app": service.name} | service.labels)
            found.append(_budget(service, selector, f"services[{row}]"))
    return found


def _budget(
    spec: BudgetSpec | ServiceSpec, selector: objects.LabelSelector, path: str, *, unready: str = "IfHealthyBudget"
) -> objects.PodDisruptionBudget:
    least, most = spec.min_available, spec.max_unavailable
    if least is not None and most is not None:
        raise FieldError(f"{path}.max_unavailable", most, "min_available or max_unavailable, not both")
    for name, amount in (("min_available", least), ("max_unavailable", most)):
        scaled(amount, 0, field=f"{path}.{name}")
    return objects.PodDisruptionBudget(
        objects.Metadata(name=spec.name, namespace=spec.namespace),
        objects.DisruptionBudgetSpec(least, most, selector, unready),
    )


def _strike(world: World, fault: FaultSpec) -> None:
    """A fault happens now, to nodes drawn from those there are."""
    pools = world.machines.pools
    names = sorted(
        machine.name
        for machine in world.machines.by_name.values()
        if not fault.pool or pools[machine.pool].name == fault.pool
    )
    count = min(fault.nodes, len(names))
    for name in world.cluster.random.choice(names, size=count, replace=False).tolist() if count else []:
        _strike_node(world, fault, name)


def _strike_node(world: World, fault: FaultSpec, name: str) -> None:
    if fault.kind == "crash":
        world.machines.crash(name, recover_after=fault.lasts)
    elif fault.kind == "interrupt":
        world.machines.interrupt(name)
    else:
        world.unmeasured[name] = fault.kind.removeprefix("metrics-")
        if fault.lasts is not None:
            world.clock.after(fault.lasts, lambda: world.unmeasured.pop(name, None))


def _settings(kind: Any, raw: Mapping[str, Any] | None, path: str) -> Any:  # noqa: ANN401 - the rules' NamedTuples
    """A rule's settings from a mapping of some of its fields; None where the rule is off."""
    if raw is None:
        return None
    defaults = kind._field_defaults
    fields = [(name, hint, defaults[name]) for name, hint in kind.__annotations__.items()]
    checked = msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True)
    return kind(**msgspec.structs.asdict(converted(raw, checked, path)))


def _amounts(quantities: Mapping[str, Quantity], path: str) -> dict[str, int]:
    return {resource: _amount(resource, text, f"{path}.{resource}") for resource, text in quantities.items()}


def _amount(resource: str, text: Quantity, path: str) -> int:
    try:
        amount = for_resource(resource, str(text))
    except ValueError as error:
        raise FieldError(path, text, ACCEPTED) from error
    if amount < 0:
        raise FieldError(path, text, "a quantity that is not negative")
    return amount
