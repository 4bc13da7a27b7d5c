"""What pods use, in the two forms that a kubelet tells it: `/stats/summary` (JSON) and `/metrics/resource` (Prometheus text)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from neaptide.model.times import timestamp
from neaptide.virtualnode.provider import ContainerStats, PodStats


def summary(node: str, stats: Sequence[PodStats], now: float) -> dict[str, Any]:
    """The Summary of `stats/v1alpha1`; what is not known is left out."""
    everything = [each for pod in stats for each in pod.containers]
    return {
        "node": {"nodeName": node, **_used(everything, now)},
        "pods": [
            {
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "containers": [
                    {"name": each.name, **_began([each]), **_used([each], pod.at)} for each in pod.containers
                ],
                **_began(pod.containers),
                **_used(pod.containers, pod.at),
            }
            for pod in stats
        ],
    }


def resource_metrics(stats: Sequence[PodStats]) -> str:
    """The metrics that metrics-server reads. Source: kubernetes/kubernetes pkg/kubelet/metrics/collectors/resource_metrics.go."""
    everything = [each for pod in stats for each in pod.containers]
    lines: list[str] = []
    for name, kind, read in (
        ("cpu_usage_seconds_total", "counter", _cpu),
        ("memory_working_set_bytes", "gauge", _working_set),
    ):
        lines += [f"# TYPE container_{name} {kind}", *_per_container(f"container_{name}", stats, read)]
        lines += [f"# TYPE pod_{name} {kind}"]
        for pod in stats:
            lines += _line(f"pod_{name}", _labels(pod), _total(pod.containers, read), pod.at)
        lines += [f"# TYPE node_{name} {kind}", *_line(f"node_{name}", "", _total(everything, read) or 0.0, None)]
    lines += ["# TYPE container_start_time_seconds gauge"]
    lines += _per_container("container_start_time_seconds", stats, lambda each: each.started)
    return "\n".join([*lines, "# TYPE scrape_error gauge", "scrape_error 0", ""])


def _per_container(
    name: str, stats: Sequence[PodStats], read: Callable[[ContainerStats], float | None]
) -> Iterator[str]:
    for pod in stats:
        for each in pod.containers:
            yield from _line(name, f'{{container="{each.name}",{_labels(pod)[1:]}', read(each), pod.at)


def _line(name: str, labels: str, value: float | None, at: float | None) -> Iterator[str]:
    if value is not None:
        yield f"{name}{labels} {value:g}" if at is None else f"{name}{labels} {value!r} {int(at * 1000)}"


def _labels(pod: PodStats) -> str:
    return f'{{namespace="{pod.namespace}",pod="{pod.name}"}}'


def _cpu(each: ContainerStats) -> float | None:
    return each.cpu_seconds


def _working_set(each: ContainerStats) -> float | None:
    found = each.memory if each.working_set is None else each.working_set
    return None if found is None else float(found)


def _total(containers: Sequence[ContainerStats], read: Callable[[ContainerStats], float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for each in containers if (value := read(each)) is not None]
    return sum(known) if known else None


def _used(containers: Sequence[ContainerStats], at: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cpu, memory = _total(containers, _cpu), _total(containers, _working_set)
    if cpu is not None:
        found["cpu"] = {"time": timestamp(at), "usageCoreNanoSeconds": int(cpu * 1e9)}
    if memory is not None:
        found["memory"] = {"time": timestamp(at), "workingSetBytes": int(memory)}
        usage = _total(containers, lambda each: None if each.memory is None else float(each.memory))
        if usage is not None:
            found["memory"]["usageBytes"] = int(usage)
    return found


def _began(containers: Sequence[ContainerStats]) -> dict[str, str]:
    began = [each.started for each in containers if each.started is not None]
    return {"startTime": timestamp(min(began))} if began else {}
