"""Usage from each kubelet's /metrics/resource, through the API server's node proxy: there where no metrics-server is.

CPU is a counter of seconds there: a rate needs two looks, so the first tells memory only. A counter that falls (a container
started again) gives no rate.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator
from math import nan
from typing import NamedTuple

from neaptide.kube.usage.readings import Reading, Readings
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError

_CONCURRENT = 16  # kubelets asked at a time
_LINE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)(?: (?P<time>\d+))?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CPU = {"container_cpu_usage_seconds_total", "node_cpu_usage_seconds_total"}
_MEMORY = {"container_memory_working_set_bytes", "node_memory_working_set_bytes"}
_NODE = ""
"""The container of a sample that is about the node."""

Series = tuple[str, str]
"""A pod's `namespace/name` and a container; two empty texts for the node."""


class Sample(NamedTuple):
    """One line of the exposition that is about use."""

    series: Series
    cpu: bool
    value: float
    time: float


class Kubelets:
    """The source. `nodes` names the nodes to ask, every time."""

    name = "kubelet /metrics/resource"

    def __init__(
        self, client: Client, nodes: Callable[[], Iterable[str]], clock: Callable[[], float] = time.time
    ) -> None:
        self._client, self._nodes, self._clock = client, nodes, clock
        self._before: dict[str, dict[Series, Sample]] = {}

    async def read(self) -> Readings:
        names = list(self._nodes())
        allowed = asyncio.Semaphore(_CONCURRENT)

        async def ask(node: str) -> str | ApiError:
            async with allowed:
                try:
                    return (await self._client.raw("GET", f"/api/v1/nodes/{node}/proxy/metrics/resource")).decode()
                except ApiError as error:
                    return error

        answers = await asyncio.gather(*map(ask, names))
        nodes: dict[str, Reading] = {}
        pods: dict[str, Reading] = {}
        problems = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, ApiError):
                problems.append(f"node {name}: {answer}")
                continue
            self._node(name, answer, nodes, pods)
        self._before = {name: self._before[name] for name in names if name in self._before}
        if names and len(problems) == len(names):
            raise next(answer for answer in answers if isinstance(answer, ApiError))
        return Readings(nodes, pods, tuple(problems))

    def _node(self, name: str, text: str, nodes: dict[str, Reading], pods: dict[str, Reading]) -> None:
        found = list(samples(text, self._clock()))
        before = self._before.get(name, {})
        counters = {each.series: each for each in found if each.cpu}
        rates = {series: _rate(before.get(series), each) for series, each in counters.items()}
        parts: dict[str, list[tuple[float, float, float]]] = {}
        for each in found:
            if not each.cpu:
                parts.setdefault(each.series[0], []).append((rates.get(each.series, nan), each.value, each.time))
        for key, containers in parts.items():
            cpu, memory = sum(each[0] for each in containers), sum(each[1] for each in containers)
            reading = Reading(cpu, memory, min(each[2] for each in containers))
            if key == _NODE:
                nodes[name] = reading
            else:
                pods[key] = reading
        self._before[name] = {
            series: before[series] if series in before and before[series].time == each.time else each
            for series, each in counters.items()
        }


def samples(text: str, now: float) -> Iterator[Sample]:
    """What an exposition says of the use of the node and of its containers; lines that cannot be read are passed over."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or match["name"] not in _CPU | _MEMORY:
            continue
        labels = dict(_LABEL.findall(match["labels"] or ""))
        try:
            value = float(match["value"])
        except ValueError:
            continue
        container = match["name"].startswith("container_")
        series = (
            (f"{labels.get('namespace', '')}/{labels.get('pod', '')}", labels.get("container", ""))
            if container
            else (_NODE, "")
        )
        yield Sample(series, match["name"] in _CPU, value, int(match["time"]) / 1000 if match["time"] else now)


def _rate(before: Sample | None, after: Sample) -> float:
    """Milli-CPU between two samples of a counter of seconds; nan where it cannot be told."""
    if before is None or after.time <= before.time or after.value < before.value:
        return nan
    return 1000 * (after.value - before.value) / (after.time - before.time)
