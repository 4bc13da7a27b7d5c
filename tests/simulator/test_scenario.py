"""Scenarios from YAML: what is accepted, what is refused and how, and that the documented one runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from tests.simulator.stand_in import FirstFit

from neaptide.loop import Cycle, Mode
from neaptide.model.actions import Plan, Reason, Ref, SetNodeResources
from neaptide.model.problems import FieldError
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.pricing.catalogue import Catalogue, InstancePrice
from neaptide.simulator.run import run
from neaptide.simulator.scenario import parse
from neaptide.simulator.setup import build

OFFERING = {
    "instance_type": "m5.xlarge",
    "price_per_hour": 0.2,
    "allocatable": {"cpu": 4, "memory": "15Gi", "pods": 58},
}
POOL = {"name": "general", "offerings": [OFFERING | {"nodes": 2}]}
SERVICE = {"name": "web", "cpu": "500m", "memory": "1Gi"}
JOB = {"name": "batch", "cpu": 1, "memory": "1Gi", "duration": 60}


def scenario(**fields: Any) -> str:
    return yaml.safe_dump({"pools": [POOL], "duration": 600} | fields)


def test_the_documented_scenario_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "simulator.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    result = run(parse(text))
    assert result.summary.jobs_finished > 0
    assert result.summary.money is not None


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"duration": 0}, "duration", "0"),
        ({"duration": "long"}, "duration", "long"),
        ({"duration": float("nan")}, "duration", "nan"),
        ({"duration": float("inf")}, "duration", "inf"),
        ({"tick": 0.001}, "tick", "0.001"),
        ({"autoscaler": {"buy_period": 0}}, "autoscaler.buy_period", "0"),
        ({"cloud": {"provision_spread": 2}}, "cloud.provision_spread", "2"),
        (
            {"services": [SERVICE | {"usage": {"kind": "points", "points": []}}]},
            "services[0].usage.points",
            "[]",
        ),
        (
            {"services": [SERVICE | {"usage": {"kind": "daily", "low": -1, "high": 1}}]},
            "services[0].usage.low",
            "-1",
        ),
        ({"ticks": 5}, "ticks", "5"),
        ({"pools": []}, "pools", "[]"),
        ({"pools": [POOL, POOL]}, "pools[1].name", "general"),
        ({"pools": [POOL | {"name": "Upper"}]}, "pools[0].name", "Upper"),
        (
            {"pools": [{"name": "p", "offerings": [OFFERING | {"allocatable": {"cpu": "4x"}}]}]},
            "pools[0].offerings[0].allocatable.cpu",
            "4x",
        ),
        (
            {"pools": [{"name": "p", "offerings": [OFFERING | {"allocatable": {"cpu": 4}}]}]},
            "pools[0].offerings[0].allocatable.memory",
            "",
        ),
        (
            {"pools": [{"name": "p", "offerings": [OFFERING | {"price_per_hour": -1}]}]},
            "pools[0].offerings[0].price_per_hour",
            "-1",
        ),
        (
            {"pools": [{"name": "p", "offerings": [OFFERING | {"capacity_type": "cheap"}]}]},
            "pools[0].offerings[0].capacity_type",
            "cheap",
        ),
        ({"services": [SERVICE | {"replicas": -1}]}, "services[0].replicas", "-1"),
        ({"services": [SERVICE | {"cpu": "-1"}]}, "services[0].cpu", "-1"),
        ({"services": [SERVICE, SERVICE]}, "services[1].name", "web"),
        ({"services": [SERVICE | {"usage": {"kind": "sine"}}]}, "services[0].usage.kind", "sine"),
        (
            {"services": [SERVICE | {"usage": {"kind": "series", "name": "moon"}}]},
            "services[0].usage.name",
            "moon",
        ),
        ({"services": [{"name": "web"}]}, "services[0].cpu", ""),
        ({"services": [SERVICE | {"max_unavailable": "few"}]}, "services[0].max_unavailable", "few"),
        (
            {"services": [SERVICE | {"max_unavailable": 1, "min_available": 1}]},
            "services[0].max_unavailable",
            "1",
        ),
        (
            {"services": [SERVICE | {"tolerations": [{"operator": "Maybe"}]}]},
            "services[0].spec.tolerations.operator",
            "Maybe",
        ),
        ({"jobs": [JOB | {"duration": -5}]}, "jobs[0].duration", "-5"),
        ({"jobs": [JOB | {"failure_rate": 1.5}]}, "jobs[0].failure_rate", "1.5"),
        ({"cron_jobs": [JOB | {"schedule": "never"}]}, "cron_jobs[0].schedule", "never"),
        ({"cron_jobs": [JOB | {"schedule": "0 0 * * *", "time_zone": "Nowhere"}]}, "cron_jobs[0].time_zone", "Nowhere"),
        ({"faults": [{"kind": "flood", "after": 5}]}, "faults[0].kind", "flood"),
        ({"node_rules": {"cpu_suppress": {"threshold": 50}}}, "node_rules.cpu_suppress.threshold", "50"),
        (
            {"node_rules": {"memory_evict": {"threshold_percent": "high"}}},
            "node_rules.memory_evict.threshold_percent",
            "high",
        ),
        ({"policies": [{"name": "magic"}]}, "policies[0].name", "magic"),
        ({"policies": [{"name": "mark", "mode": "Sometimes"}]}, "policies[0].mode", "Sometimes"),
        ({"policies": [{"name": "mark", "spec": {"amount": "much"}}]}, "policies[0].spec.amount", "much"),
        ({"start": "yesterday"}, "start", "yesterday"),
        ({"profile": {"scores": ["Best"]}}, "profile.scores[0].name", "Best"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_refused_by_field_and_value(fields: dict[str, Any], field: str, value: str) -> None:
    with pytest.raises(FieldError) as error:
        run(parse(scenario(**fields)), policies=[Mark()])
    assert error.value.field == field
    assert error.value.value == value
    assert error.value.accepted


@pytest.mark.parametrize("text", ["", "- a", "a: [", "a: 1\n---\nb: 2", "[" * 2000], ids=str.__len__)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(FieldError):
        parse(text)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
FIELDS = st.sampled_from(["duration", "tick", "pools", "services", "jobs", "cron_jobs", "faults", "policies", "start"])


@given(st.dictionaries(FIELDS, VALUES, min_size=1, max_size=3))
def test_nothing_that_stands_in_a_file_leads_to_anything_but_a_field_error(fields: dict[str, Any]) -> None:
    try:
        parse(scenario(**fields))
    except FieldError as error:
        assert error.accepted  # noqa: PT017 - most inputs are refused, a few are not


def test_a_start_without_a_time_zone_is_in_utc() -> None:
    starts = [
        build(parse(scenario(start=text)), FirstFit).now() for text in ("2026-01-05T06:00:00", "2026-01-05T06:00:00Z")
    ]
    assert starts == [1767592800.0] * 2


def test_prices_that_are_left_out_are_looked_up_and_else_unknown() -> None:
    bare = {key: value for key, value in OFFERING.items() if key != "price_per_hour"}
    text = scenario(pools=[{"name": "p", "offerings": [bare | {"nodes": 1}]}])
    catalogue = Catalogue([InstancePrice("m5.xlarge", "on-demand", 0.192)])
    assert build(parse(text), FirstFit).machines.offerings()[0].price_per_hour is None
    assert build(parse(text), FirstFit, catalogue).machines.offerings()[0].price_per_hour == 0.192
    assert run(parse(text), placer=FirstFit).summary.money is None


def test_arrivals_are_a_seeded_random_process() -> None:
    arrivals = [JOB | {"per_hour": 120, "after": 3600, "until": 7200}]
    text = scenario(arrivals=arrivals, duration=10_000, seed=5)
    result = run(parse(text), placer=FirstFit)
    times = [record.arrived - result.start for record in result.jobs]
    assert 80 < len(times) < 160
    assert min(times) >= 3600
    assert max(times) <= 7200
    assert len({record.name for record in result.jobs}) == len(times)


@pytest.mark.parametrize(
    ("tier", "resource", "band"),
    [("prod", "cpu", 3), ("mid", "kubernetes.io/mid-cpu", 2), ("batch", "kubernetes.io/batch-cpu", 1)],
)
def test_a_tier_says_what_pods_ask_for_and_which_band_they_are(tier: str, resource: str, band: int) -> None:
    world = build(parse(scenario(jobs=[JOB | {"tier": tier}])), FirstFit)
    world.run_until(world.now() + 1)
    (pod,) = world.cluster.snapshot.pods.indices()
    assert world.cluster.snapshot.shape_of_pod(pod).requests[resource] == 1000
    assert world.cluster.snapshot.pods.band[pod] == band


def test_work_drawn_from_the_packaged_traces_runs() -> None:
    text = scenario(
        pools=[{"name": "p", "offerings": [OFFERING | {"allocatable": {"cpu": 96, "memory": "768Gi", "pods": 110}}]}],
        duration=4 * 3600,
        tick=300,
        trace_services={"count": 3, "max_unavailable": "25%"},
        trace_jobs={"count": 30, "tier": "prod", "longest": 1800},
    )
    result = run(parse(text), placer=FirstFit)
    assert result.timeline.running[-1].sum() > 0
    assert result.summary.jobs_arrived > 0


class MarkSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    amount: int = 7


class MarkMemory(Struct):
    cycles: int = 0


class Mark:
    """A policy that writes a number into every node."""

    name = "mark"
    spec_type = MarkSpec
    memory_type = MarkMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: MarkSpec,
        memory: MarkMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, MarkMemory]:
        actions = tuple(
            SetNodeResources(
                policy="mark",
                target=Ref("Node", snapshot.nodes.names[node]),
                reason=Reason("Mark", f"at {now:.0f}"),
                resources={"example.com/mark": spec.amount},
            )
            for node in snapshot.nodes.indices()
            if covers(snapshot.node_ref(node))
        )
        return Plan("mark", actions), MarkMemory(memory.cycles + 1)


@pytest.mark.parametrize(("mode", "result"), [("Enforce", "Done"), ("Recommend", "Recommended")])
def test_the_loop_runs_at_its_period_with_the_policies_that_are_named(mode: str, result: str) -> None:
    cycles: list[Cycle] = []
    policy = {"name": "mark", "mode": mode, "spec": {"amount": 9}}
    text = scenario(policies=[policy], loop_period=120)
    progress: list[float] = []
    run(parse(text), placer=FirstFit, policies=[Mark()], record=cycles.append, progress=progress.append)
    assert [cycle.time - cycles[0].time for cycle in cycles] == [0, 120, 240, 360, 480]
    outcomes = {outcome.result for cycle in cycles for outcome in cycle.outcomes}
    assert outcomes == {result}
    assert parse(text).policies[0].mode is Mode(mode)
    assert progress[-1] == 1.0
