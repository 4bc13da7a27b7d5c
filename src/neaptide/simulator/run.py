"""A run from its start to its end: the world, the loop at its period, and what came out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from neaptide.loop import Cycle, LoopMemory, Setting, run_once
from neaptide.model.problems import FieldError
from neaptide.model.protocols import Policy
from neaptide.placement.cycle.profile import CycleProfile, read_cycle_profile
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile, read_profile
from neaptide.policies.registry import POLICIES
from neaptide.pricing.catalogue import Catalogue
from neaptide.simulator.cycle_scheduler import CycleScheduler
from neaptide.simulator.ledger import Bill, Eviction, JobRecord, Timeline, VirtualBill, Wait
from neaptide.simulator.scenario import Scenario, converted
from neaptide.simulator.setup import build
from neaptide.simulator.world import MakePlacer, World

AnyProfile = TypeVar("AnyProfile", bound=Profile)


class Summary(Struct, frozen=True):
    """A run in a row of numbers. Money is None where a price was unknown; waits are in seconds."""

    nodes_mean: float
    nodes_most: float
    money: float | None
    cpu_use_mean: float
    """Of capacity, 0 to 1."""
    jobs_arrived: int
    jobs_finished: int
    offline_cpu_seconds: float
    lost_cpu_seconds: float
    longest_wait: float
    """Of pods of jobs, those that still wait included."""
    mean_wait: float
    contention_minutes: float
    evictions: int
    events: int
    virtual_pods: int = 0
    """Times that a pod was on a virtual node."""
    virtual_money: float | None = 0.0
    """Of `money`, what they cost."""


class Result(Struct, frozen=True):
    """What came out of a run."""

    scenario: str
    start: float
    end: float
    pools: tuple[str, ...]
    timeline: Timeline
    summary: Summary
    evictions: tuple[Eviction, ...]
    waits: tuple[Wait, ...]
    jobs: tuple[JobRecord, ...]
    bills: tuple[Bill, ...]
    virtual_bills: tuple[VirtualBill, ...] = ()


def run(
    scenario: Scenario,
    *,
    placer: MakePlacer | None = None,
    catalogue: Catalogue | None = None,
    policies: Sequence[Policy] = POLICIES,
    record: Callable[[Cycle], object] = lambda _: None,
    progress: Callable[[float], object] = lambda _: None,
) -> Result:
    """Run a scenario.

    Args:
        scenario: what happens.
        placer: what chooses nodes; by default the engine with the scenario's profile.
        catalogue: prices for offerings that name none.
        policies: those that the scenario may name.
        record: gets every cycle of the loop.
        progress: gets the part that is done (0 to 1), at every hour of the run.

    Raises:
        FieldError: something in the scenario cannot be used.
    """
    settings = policy_settings(scenario, policies)
    profile = _cycle_profile(scenario) if scenario.scheduler == "cycle" else None
    world = build(scenario, placer or _engine(scenario), catalogue, profile)
    start, end = world.settings.start, world.settings.start + scenario.duration
    if settings:
        _attach_loop(world, scenario, settings, record)
    hour = start
    while hour < end:
        hour = min(hour + 3600, end)
        world.run_until(hour)
        progress((hour - start) / scenario.duration)
    world.close()
    return _result(scenario, world)


def policy_settings(scenario: Scenario, policies: Sequence[Policy]) -> list[Setting]:
    """The policies that a scenario names, in the order of the registry. Raises FieldError."""
    known = {policy.name: policy for policy in policies}
    chosen = {}
    for row, each in enumerate(scenario.policies):
        if each.name not in known:
            raise FieldError(f"policies[{row}].name", each.name, "one of " + ", ".join(known))
        policy = known[each.name]
        spec: Any = converted(each.spec, policy.spec_type, f"policies[{row}].spec")
        chosen[each.name] = Setting(policy, spec, each.mode)
    return [chosen[name] for name in known if name in chosen]


def _engine(scenario: Scenario) -> MakePlacer:
    """The placement engine with the scenario's profile. Raises FieldError."""
    profile = _cycle_profile(scenario) if scenario.scheduler == "cycle" else _read(scenario, read_profile)
    return lambda snapshot: Placement(snapshot, profile)


def _cycle_profile(scenario: Scenario) -> CycleProfile:
    return _read(scenario, read_cycle_profile)


def _read(scenario: Scenario, read: Callable[[str], AnyProfile]) -> AnyProfile:
    """The scenario's profile. Raises FieldError."""
    try:
        return read(msgspec.json.encode(scenario.profile).decode())
    except FieldError as error:
        raise FieldError(f"profile.{error.field}", error.value, error.accepted) from error


def _attach_loop(world: World, scenario: Scenario, settings: list[Setting], record: Callable[[Cycle], object]) -> None:
    memory = LoopMemory()

    def cycle() -> None:
        nonlocal memory
        _, memory = run_once(world, settings, memory, budgets=scenario.budgets, record=record)

    if isinstance(world.scheduler, CycleScheduler):
        world.scheduler.memory = lambda: memory.arbiter
    world.clock.every(scenario.loop_period, cycle, first=world.now() + min(scenario.tick, scenario.loop_period))


def _result(scenario: Scenario, world: World) -> Result:
    ledger, timeline = world.ledger, world.ledger.timeline()
    waits = [wait.seconds for wait in ledger.waits if wait.offline]
    virtual_money = _sum(bill.dollars for bill in ledger.virtual_bills)
    used, capacity = timeline.cpu_used.sum(axis=1), timeline.cpu_capacity
    nodes = timeline.nodes.sum(axis=1)
    summary = Summary(
        nodes_mean=float(nodes.mean()),
        nodes_most=float(nodes.max()),
        money=_sum((virtual_money, *(bill.dollars for bill in ledger.bills))),
        cpu_use_mean=float(used.sum() / capacity.sum()) if capacity.any() else 0.0,
        jobs_arrived=len(ledger.jobs),
        jobs_finished=round(ledger.totals["jobs_finished"]),
        offline_cpu_seconds=ledger.totals["offline_cpu_seconds"],
        lost_cpu_seconds=ledger.totals["lost_cpu_seconds"],
        longest_wait=max(waits, default=0.0),
        mean_wait=float(np.mean(waits)) if waits else 0.0,
        contention_minutes=ledger.totals["contention_minutes"],
        evictions=len(ledger.evictions),
        events=world.clock.events,
        virtual_pods=len(ledger.virtual_bills),
        virtual_money=virtual_money,
    )
    return Result(
        scenario.name,
        world.settings.start,
        world.now(),
        tuple(pool.name for pool in world.machines.pools),
        timeline,
        summary,
        tuple(ledger.evictions),
        tuple(ledger.waits),
        tuple(ledger.jobs),
        tuple(ledger.bills),
        tuple(ledger.virtual_bills),
    )


def _sum(dollars: Iterable[float | None]) -> float | None:
    """None where one of them is unknown."""
    every = list(dollars)
    known = [each for each in every if each is not None]
    return sum(known) if len(known) == len(every) else None
