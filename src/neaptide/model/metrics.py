"""What metrics.k8s.io or the nodes' agents measured, put beside the pods and nodes that it is about."""

from collections.abc import Iterable, Mapping
from math import nan

from neaptide.model.node_metric import NodeMetric
from neaptide.model.objects import NodeMetrics, PodMetrics
from neaptide.model.pod_row import pod_key
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.quantity import ACCEPTED, for_resource
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds

MAX_AGE = 900.0
"""Seconds after which what was measured is not known any more (Koordinator's degradeTimeMinutes): a policy then takes the request for it, or does nothing. Many stop sooner."""


def apply_metrics(snapshot: ClusterSnapshot, metrics: PodMetrics | NodeMetrics) -> None:
    """Set the usage of one pod or node. Raises FieldError, having changed nothing, where it is not known or nothing can be counted.

    A pod's usage is the sum over its containers; what one of them lacks is unknown for the pod.
    """
    meta = metrics.metadata
    if isinstance(metrics, PodMetrics):
        pod = snapshot.pods.by_key.get(pod_key(meta))
        if pod is None:
            raise FieldError("metadata.name", meta.name, "the name of a pod that is there too")
        usages = [usage_of(each.usage, f"containers[{each.name}].usage") for each in metrics.containers]
        snapshot.set_pod_usage(pod, _sum(cpu for cpu, _ in usages), _sum(memory for _, memory in usages))
        return
    node = snapshot.nodes.by_name.get(meta.name)
    if node is None:
        raise FieldError("metadata.name", meta.name, "the name of a node that is there too")
    cpu, memory = usage_of(metrics.usage, "usage")
    snapshot.set_node_usage(node, cpu, memory, seconds(metrics.timestamp or meta.creation_timestamp))


def apply_node_metrics(snapshot: ClusterSnapshot, now: float) -> list[LeftOut]:
    """Set the usage of nodes, and of the pods on them, as their agents have told it of late; what cannot be read, `file` empty."""
    left_out = []
    for name, metric in snapshot.others.get("NodeMetric", {}).items():
        try:
            _apply(snapshot, metric, now)
        except FieldError as error:
            left_out.append(error.left_out("", f"NodeMetric {name}"))
    return left_out


def _apply(snapshot: ClusterSnapshot, metric: NodeMetric, now: float) -> None:
    node, status = snapshot.nodes.by_name.get(metric.metadata.name), metric.status
    if node is None or status.node_metric is None or not metric.is_recent(MAX_AGE, now):
        return
    of_node = usage_of(status.node_metric.node_usage.resources, "status.nodeMetric.nodeUsage.resources")
    of_pods = {
        f"{pod.namespace}/{pod.name}": usage_of(
            pod.pod_usage.resources, f"status.podsMetric[{number}].podUsage.resources"
        )
        for number, pod in enumerate(status.pods_metric)
    }
    snapshot.set_node_usage(node, *of_node, seconds(status.update_time))
    for key, usage in of_pods.items():
        pod = snapshot.pods.by_key.get(key)
        if pod is not None and int(snapshot.pods.node[pod]) == node:
            snapshot.set_pod_usage(pod, *usage)


def usage_of(usage: Mapping[str, str], where: str) -> tuple[float, float]:
    """Milli-CPU and bytes; nan for what is not there. Raises FieldError; `where` is the mapping's path in its object."""
    return _amount(usage, "cpu", where), _amount(usage, "memory", where)


def _amount(usage: Mapping[str, str], resource: str, where: str) -> float:
    text = usage.get(resource)
    if text is None:
        return nan
    try:
        amount = for_resource(resource, text)
    except ValueError as error:
        raise FieldError(f"{where}.{resource}", text, ACCEPTED) from error
    if amount < 0:
        raise FieldError(f"{where}.{resource}", text, "a quantity that is not negative")
    return float(amount)


def _sum(amounts: Iterable[float]) -> float:
    """Unknown where there is nothing to add up, or any part is unknown."""
    known = list(amounts)
    return sum(known) if known else nan
