"""What NodeMetric objects say of nodes beside CPU and memory, as filters and scores read it from a snapshot."""

from collections.abc import Mapping

from msgspec import Struct

from neaptide.model.node_info import NodeInfo, Percentiles
from neaptide.model.node_metric import Aggregated, NodeMetric, NodeMetricInfo
from neaptide.model.objects import Metadata
from neaptide.model.problems import FieldError
from neaptide.model.quantity import ACCEPTED, for_resource, milli
from neaptide.model.real_time import DISK, LOADS, NETWORK, PRESSURES, RESOURCES
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import go_duration, seconds


class Infos(Struct, frozen=True):
    """Everything that is known at a moment, by node."""

    by_node: Mapping[str, NodeInfo]


def set_infos(snapshot: ClusterSnapshot, infos: Mapping[str, NodeInfo]) -> None:
    """Put what is known into a snapshot, in the place of what was known before."""
    snapshot.others[NodeInfo.__name__] = dict(infos)


def info_of(metric: NodeMetric) -> NodeInfo | None:
    """What a NodeMetric says; None where it says nothing of the kind. Raises FieldError."""
    said = metric.status.node_metric
    if said is None:
        return None
    values = _values(said)
    percentiles = dict(
        _percentiles(each, number) for number, each in enumerate(said.aggregated_node_usages) if each.usage
    )
    if not values and not percentiles:
        return None
    return NodeInfo(
        Metadata(name=metric.metadata.name),
        seconds(metric.status.update_time),
        {window: values[name] for window in LOADS if (name := f"load.{window}") in values},
        {resource: values[name] for resource in PRESSURES if (name := f"pressure.{resource}") in values},
        values.get(NETWORK),
        values.get(DISK),
        percentiles,
    )


def _values(said: NodeMetricInfo) -> dict[str, float]:
    texts = said.node_usage.resources
    named = ((name, resource) for name, resource in RESOURCES.items() if resource in texts)
    return {name: _amount(resource, texts[resource], "nodeUsage") / 1000 for name, resource in named}


def _percentiles(each: Aggregated, number: int) -> tuple[str, Percentiles]:
    """The window in minutes (`5m`), and what was used over it."""
    where = f"aggregatedNodeUsages[{number}]"
    length = go_duration(each.duration)
    if length is None:
        raise FieldError(f"status.nodeMetric.{where}.duration", each.duration, "a duration such as 5m0s")
    cpu, memory = (
        {
            name: _amount(resource, amounts.resources[resource], f"{where}.usage.{name}")
            for name, amounts in each.usage.items()
            if resource in amounts.resources
        }
        for resource in ("cpu", "memory")
    )
    return f"{round(length / 60)}m", Percentiles(cpu, memory)


def _amount(resource: str, text: str, where: str) -> float:
    """Milli-CPU, bytes, or thousandths of what is full."""
    try:
        amount = for_resource(resource, text) if resource == "memory" else milli(text)
    except ValueError as error:
        raise FieldError(f"status.nodeMetric.{where}.resources.{resource}", text, ACCEPTED) from error
    if amount < 0:
        raise FieldError(f"status.nodeMetric.{where}.resources.{resource}", text, "a quantity that is not negative")
    return float(amount)
