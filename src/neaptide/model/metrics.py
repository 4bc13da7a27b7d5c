"""What metrics.k8s.io or the nodes' agents measured, put beside the pods and nodes that it is about."""

from collections.abc import Iterable, Mapping
from math import nan

from neaptide.model.node_metric import NodeMetric
from neaptide.model.objects import NodeMetrics, PodMetrics
from neaptide.model.pod_row import pod_key
from neaptide.model.problems import FieldError
from neaptide.model.quantity import ACCEPTED, for_resource
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds


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


def apply_node_metric(snapshot: ClusterSnapshot, metric: NodeMetric) -> None:
    """Set the usage of a node and of its pods as its agent tells it, unless a later look is known. Raises FieldError, having changed nothing.

    Pods that are not there any more are passed over, and so is an agent that has measured nothing yet.
    """
    node, status = snapshot.nodes.by_name.get(metric.metadata.name), metric.status
    if node is None or status.node_metric is None:
        return
    time = seconds(status.update_time)
    if snapshot.nodes.usage_time[node] > time:
        return
    of_node = usage_of(status.node_metric.node_usage.resources, "status.nodeMetric.nodeUsage.resources")
    of_pods = {
        f"{pod.namespace}/{pod.name}": usage_of(
            pod.pod_usage.resources, f"status.podsMetric[{number}].podUsage.resources"
        )
        for number, pod in enumerate(status.pods_metric)
    }
    snapshot.set_node_usage(node, *of_node, time)
    for key, usage in of_pods.items():
        if (pod := snapshot.pods.by_key.get(key)) is not None:
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
