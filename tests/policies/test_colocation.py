from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from neaptide.policies.colocation import (
    RATIO_LABELS,
    STRATEGY_ANNOTATION,
    ColocationConfig,
    ColocationStrategy,
    read_config,
    strategy_of_node,
)

CPU_RATIO, MEMORY_RATIO, MID_CPU_RATIO, MID_MEMORY_RATIO = RATIO_LABELS
POOL = {"pool": "batch"}
CONFIG: dict[str, Any] = {
    "enable": True,
    "cpuReclaimThresholdPercent": 70,
    "metricReportIntervalSeconds": 20,
    "nodeConfigs": [
        {"name": "none", "nodeSelector": {"matchLabels": {"pool": "gpu"}}, "cpuReclaimThresholdPercent": 10},
        {"name": "batch", "nodeSelector": {"matchLabels": POOL}, "cpuReclaimThresholdPercent": 80},
        {"name": "later", "nodeSelector": {"matchLabels": POOL}, "cpuReclaimThresholdPercent": 90},
    ],
}


def resolve(
    labels: dict[str, str], annotations: dict[str, str] | None = None, config: dict[str, Any] | None = None
) -> tuple[ColocationStrategy, list[tuple[str, str]]]:
    read, left_out = read_config(CONFIG if config is None else config, file="config.json", name="colocation-config")
    assert not left_out
    found = strategy_of_node(read, labels, annotations or {}, file="dump.json", name="Node a")
    assert {each.object for each in found.left_out} <= {"Node a"}
    return found.strategy, [(each.field, each.value) for each in found.left_out]


def test_defaults_are_koordinators() -> None:
    assert msgspec.to_builtins(ColocationStrategy()) == {
        "enable": False,
        "cpuReclaimThresholdPercent": 60,
        "memoryReclaimThresholdPercent": 65,
        "cpuCalculatePolicy": "usage",
        "memoryCalculatePolicy": "usage",
        "degradeTimeMinutes": 15,
        "updateTimeThresholdSeconds": 300,
        "resourceDiffThreshold": 0.1,
        "midReclaimMode": "",
        "midCPUThresholdPercent": 100,
        "midMemoryThresholdPercent": 100,
        "midUnallocatedPercent": 0,
        "midStaticCPUReservedPercent": 0,
        "midStaticMemoryReservedPercent": 0,
        "batchCPUThresholdPercent": None,
        "batchMemoryThresholdPercent": None,
    }


@pytest.mark.parametrize(
    ("labels", "annotation", "expected"),
    [
        ({}, None, 70),
        (POOL, None, 80),
        (POOL, '{"cpuReclaimThresholdPercent": 85}', 85),
        (POOL | {CPU_RATIO: "0.29"}, '{"cpuReclaimThresholdPercent": 85}', 29),
        ({CPU_RATIO: "1.5"}, None, 150),
        (POOL, '{"cpuReclaimThresholdPercent": null}', 80),
    ],
    ids=["cluster", "first selector that fits", "annotation", "label", "a label above one", "null leaves it"],
)
def test_the_nearer_to_the_node_prevails(labels: dict[str, str], annotation: str | None, expected: int) -> None:
    strategy, left_out = resolve(labels, {STRATEGY_ANNOTATION: annotation} if annotation else {})
    assert strategy.cpu_reclaim_threshold_percent == expected
    assert strategy.enable
    assert not left_out


def test_every_ratio_label_has_its_percentage() -> None:
    strategy, _ = resolve({CPU_RATIO: "0.5", MEMORY_RATIO: "0.6", MID_CPU_RATIO: "0.1", MID_MEMORY_RATIO: "0.2"})
    assert strategy.cpu_reclaim_threshold_percent == 50
    assert strategy.memory_reclaim_threshold_percent == 60
    assert strategy.mid_static_cpu_reserved_percent == 10
    assert strategy.mid_static_memory_reserved_percent == 20


@pytest.mark.parametrize(
    ("label", "value"),
    [(CPU_RATIO, "-0.1"), (CPU_RATIO, "many"), (CPU_RATIO, "nan"), (CPU_RATIO, "inf"), (MID_CPU_RATIO, "1.1")],
)
def test_a_ratio_that_is_none_is_reported_and_the_rest_holds(label: str, value: str) -> None:
    strategy, left_out = resolve(POOL | {label: value, MEMORY_RATIO: "0.5"})
    assert strategy.cpu_reclaim_threshold_percent == 80
    assert strategy.memory_reclaim_threshold_percent == 50
    assert left_out == [(f"metadata.labels[{label}]", value)]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ('{"cpuReclaimThresholdPercent": -1, "degradeTimeMinutes": 5}', ".cpuReclaimThresholdPercent"),
        ('{"cpuCalculatePolicy": "request", "degradeTimeMinutes": 5}', ".cpuCalculatePolicy"),
        ('{"resourceDiffThreshold": 0, "degradeTimeMinutes": 5}', ".resourceDiffThreshold"),
        ('{"cpuReclaimTresholdPercent": 5, "degradeTimeMinutes": 5}', ".cpuReclaimTresholdPercent"),
        ('{"enable": "yes", "degradeTimeMinutes": 5}', ".enable"),
        ('{"midCPUThresholdPercent": 101, "degradeTimeMinutes": 5}', ".midCPUThresholdPercent"),
    ],
    ids=["negative", "CPU has no request policy", "zero", "misspelt", "not a flag", "above one hundred"],
)
def test_a_bad_value_is_reported_by_field_and_the_good_ones_are_used(value: str, field: str) -> None:
    strategy, left_out = resolve(POOL, {STRATEGY_ANNOTATION: value})
    assert strategy.degrade_time_minutes == 5
    assert strategy.cpu_reclaim_threshold_percent == 80
    assert [each[0] for each in left_out] == [f"metadata.annotations[{STRATEGY_ANNOTATION}]{field}"]


@pytest.mark.parametrize("text", ["{", "[]", "7", ""])
def test_an_annotation_that_is_no_json_object_is_reported(text: str) -> None:
    strategy, left_out = resolve({}, {STRATEGY_ANNOTATION: text})
    assert strategy.cpu_reclaim_threshold_percent == 70
    assert left_out == [(f"metadata.annotations[{STRATEGY_ANNOTATION}]", text)]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (7, "nodeConfigs[0]"),
        ({"name": "a", "enable": True}, "nodeConfigs[0].nodeSelector"),
        ({"nodeSelector": {"matchLabels": 3}}, "nodeConfigs[0].nodeSelector"),
        ({"nodeSelector": {}, "degradeTimeMinutes": 0}, "nodeConfigs[0].degradeTimeMinutes"),
    ],
    ids=["not an object", "no selector", "not a selector", "a bad value"],
)
def test_a_bad_exception_is_reported_with_its_place(entry: object, field: str) -> None:
    config, left_out = read_config({"enable": True, "nodeConfigs": [entry]}, file="c.json", name="colocation-config")
    assert config.strategy.enable
    assert [(each.file, each.object, each.field) for each in left_out] == [("c.json", "colocation-config", field)]


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
names = st.sampled_from([each.encode_name for each in structs.fields(ColocationStrategy)] + ["other", "extensions"])


@given(st.dictionaries(names, st.one_of(scalars, st.lists(scalars, max_size=2))))
def test_no_value_stops_the_reader_and_what_it_keeps_is_valid(values: dict[str, Any]) -> None:
    config, _ = read_config(values, file="c.json", name="colocation-config")
    encoded = msgspec.json.encode(config.strategy)
    assert msgspec.json.decode(encoded, type=ColocationStrategy) == config.strategy


def test_a_config_with_nothing_in_it_is_the_default() -> None:
    assert read_config({}, file="c.json", name="colocation-config") == (ColocationConfig(), ())
