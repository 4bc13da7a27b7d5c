"""Koordinator's colocation strategy: how much of a node may be reclaimed, for all nodes, some of them, or one.

Precedence, the later over the earlier: the cluster's strategy; the first entry of `nodeConfigs` whose selector fits; the
node's annotation `node.koordinator.sh/colocation-strategy` (JSON); its ratio labels. A value that is not accepted is left
out and reported, and the one before it stays. Source: koordinator apis/configuration, pkg/util/sloconfig.
"""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta, Struct, field, structs

from neaptide.model.objects import LabelSelector
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.selectors import labels_match

STRATEGY_ANNOTATION = "node.koordinator.sh/colocation-strategy"
RATIO_LABELS = {
    "node.koordinator.sh/cpu-reclaim-ratio": "cpuReclaimThresholdPercent",
    "node.koordinator.sh/memory-reclaim-ratio": "memoryReclaimThresholdPercent",
    "node.koordinator.sh/mid-static-cpu-reserved-ratio": "midStaticCPUReservedPercent",
    "node.koordinator.sh/mid-static-memory-reserved-ratio": "midStaticMemoryReservedPercent",
}
# Koordinator's own, of no use here: they say how its agent collects metrics.
_PASSED_OVER = frozenset(
    {
        "metricAggregateDurationSeconds",
        "metricReportIntervalSeconds",
        "metricAggregatePolicy",
        "metricMemoryCollectPolicy",
        "extensions",
    }
)

_Large = Annotated[int, Meta(ge=0, le=1000, description="an integer from 0 to 1000")]
_Percent = Annotated[int, Meta(ge=0, le=100, description="an integer from 0 to 100")]
_Duration = Annotated[int, Meta(ge=1, le=10**7, description="an integer from 1 to 10000000")]
_Flag = Annotated[bool, Meta(description="true or false")]
_Ratio = Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1")]
_CpuPolicy = Annotated[Literal["usage", "maxUsageRequest"], Meta(description="usage or maxUsageRequest")]
_MemoryPolicy = Annotated[
    Literal["usage", "request", "maxUsageRequest"], Meta(description="usage, request or maxUsageRequest")
]
_MidMode = Annotated[Literal["", "static"], Meta(description="static, or nothing for dynamic")]


class ColocationStrategy(Struct, frozen=True, rename="camel"):
    """Names and defaults are Koordinator's; percentages are of a node's capacity."""

    enable: _Flag = False
    cpu_reclaim_threshold_percent: _Large = 60
    memory_reclaim_threshold_percent: _Large = 65
    cpu_calculate_policy: _CpuPolicy = "usage"
    memory_calculate_policy: _MemoryPolicy = "usage"
    degrade_time_minutes: _Duration = 15
    update_time_threshold_seconds: _Duration = 300
    resource_diff_threshold: _Ratio = 0.1
    mid_reclaim_mode: _MidMode = ""
    mid_cpu_threshold_percent: _Percent = field(name="midCPUThresholdPercent", default=100)
    mid_memory_threshold_percent: _Percent = 100
    mid_unallocated_percent: _Percent = 0
    mid_static_cpu_reserved_percent: _Percent = field(name="midStaticCPUReservedPercent", default=0)
    mid_static_memory_reserved_percent: _Percent = 0
    batch_cpu_threshold_percent: _Large | None = field(name="batchCPUThresholdPercent", default=None)
    batch_memory_threshold_percent: _Large | None = None


class NodeStrategy(Struct, frozen=True):
    """What differs on the nodes that a selector selects: `values` by their JSON names."""

    name: str
    selector: LabelSelector
    values: dict[str, Any]


class ColocationConfig(Struct, frozen=True):
    """The cluster's strategy and its exceptions, in order."""

    strategy: ColocationStrategy = ColocationStrategy()
    nodes: tuple[NodeStrategy, ...] = ()


class Strategy(NamedTuple):
    """A strategy, and what was left out on the way to it."""

    strategy: ColocationStrategy
    left_out: tuple[LeftOut, ...] = ()


class _Field(NamedTuple):
    attribute: str
    type: Any
    accepted: str


def override(base: ColocationStrategy, values: Mapping[str, Any], *, file: str, name: str, where: str = "") -> Strategy:
    """`base` with `values` (by JSON name; null leaves a value as it is). `where` is the path that leads to them."""
    changes: dict[str, Any] = {}
    left_out = []
    for key, value in values.items():
        known = _FIELDS.get(key)
        if value is None or key in _PASSED_OVER:
            continue
        if known is None:
            left_out.append(LeftOut(file, name, where + key, _text(value), "one of " + ", ".join(_FIELDS)))
            continue
        try:
            changes[known.attribute] = msgspec.convert(value, known.type)
        except msgspec.ValidationError:
            left_out.append(LeftOut(file, name, where + key, _text(value), known.accepted))
    return Strategy(structs.replace(base, **changes), tuple(left_out))


def read_config(values: Mapping[str, Any], *, file: str, name: str) -> tuple[ColocationConfig, tuple[LeftOut, ...]]:
    """The JSON of Koordinator's `colocation-config`: a strategy, and `nodeConfigs` of {name, nodeSelector, values}."""
    own = {key: value for key, value in values.items() if key != "nodeConfigs"}
    strategy, left_out = override(ColocationStrategy(), own, file=file, name=name)
    nodes, found = [], list(left_out)
    for index, entry in enumerate(_entries(values.get("nodeConfigs"))):
        where = f"nodeConfigs[{index}]."
        try:
            node = _node_strategy(entry, where)
        except FieldError as error:
            found.append(error.left_out(file, name))
            continue
        nodes.append(node)
        found += override(strategy, node.values, file=file, name=name, where=where).left_out
    return ColocationConfig(strategy, tuple(nodes)), tuple(found)


def says_more(labels: Mapping[str, str], annotations: Mapping[str, str]) -> bool:
    """Whether a node's own metadata says anything about its strategy."""
    return STRATEGY_ANNOTATION in annotations or not RATIO_LABELS.keys().isdisjoint(labels)


def strategy_of_node(
    config: ColocationConfig, labels: Mapping[str, str], annotations: Mapping[str, str], *, file: str, name: str
) -> Strategy:
    """What holds on one node. `left_out` is about the node's own metadata; what the config holds is reported with it."""
    strategy = config.strategy
    chosen = next((each for each in config.nodes if labels_match(each.selector, labels)), None)
    if chosen is not None:
        strategy = override(strategy, chosen.values, file=file, name=name).strategy
    left_out: list[LeftOut] = []
    text = annotations.get(STRATEGY_ANNOTATION)
    if text is not None:
        where = f"metadata.annotations[{STRATEGY_ANNOTATION}]"
        try:
            values = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError):
            left_out.append(LeftOut(file, name, where, text, "a JSON object"))
        else:
            strategy, more = override(strategy, values, file=file, name=name, where=f"{where}.")
            left_out += more
    changes = dict(_ratios(labels, left_out, file, name))
    return Strategy(structs.replace(strategy, **changes), tuple(left_out))


def _ratios(labels: Mapping[str, str], left_out: list[LeftOut], file: str, name: str) -> Iterator[tuple[str, int]]:
    for label, key in RATIO_LABELS.items():
        text = labels.get(label)
        if text is None:
            continue
        try:
            ratio = float(text)
        except ValueError:
            ratio = -1.0
        known = _FIELDS[key]
        try:
            # A hair above the product, for 0.29 * 100 is not 29 in binary.
            percent = msgspec.convert(int(ratio * 100 + 1e-9) if 0 <= ratio < inf else -1, known.type)
        except msgspec.ValidationError:
            accepted = "a ratio such as 0.65: " + ("0 to 1" if known.type is _Percent else "0 to 10")
            left_out.append(LeftOut(file, name, f"metadata.labels[{label}]", text, accepted))
        else:
            yield known.attribute, percent


def _node_strategy(entry: object, where: str) -> NodeStrategy:
    if not isinstance(entry, dict):
        raise FieldError(where.rstrip("."), entry, "an object with nodeSelector and strategy values")
    try:
        selector = msgspec.convert(entry.get("nodeSelector"), LabelSelector)
    except msgspec.ValidationError as error:
        raise FieldError(f"{where}nodeSelector", entry.get("nodeSelector"), "a label selector") from error
    values = {str(key): value for key, value in entry.items() if key not in ("name", "nodeSelector")}
    return NodeStrategy(str(entry.get("name", "")), selector, values)


def _entries(found: object) -> list[object]:
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | float) else msgspec.json.encode(value).decode()


def _fields() -> dict[str, _Field]:
    """By JSON name, the attribute, type and accepted values of everything that can be set."""
    found = {}
    for each in structs.fields(ColocationStrategy):
        kind = get_args(each.type)[0] if each.default is None else each.type
        found[each.encode_name] = _Field(each.name, kind, kind.__metadata__[0].description)
    return found


_FIELDS = _fields()
