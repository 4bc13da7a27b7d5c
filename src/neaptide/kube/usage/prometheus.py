"""Usage from a Prometheus that scrapes the kubelets' cAdvisor."""

import time
from collections.abc import Callable, Mapping
from math import nan

import aiohttp
import msgspec
from msgspec import Struct

from neaptide.kube.usage.readings import Reading, Readings

_CONTAINERS = 'container!="",container!="POD"'
_NODE_LABELS = "node, kubernetes_io_hostname, instance"
QUERIES = {
    "pod cpu": f"1000 * sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{{{_CONTAINERS}}}[5m]))",
    "pod memory": f"sum by (namespace, pod) (container_memory_working_set_bytes{{{_CONTAINERS}}})",
    "node cpu": f'1000 * sum by ({_NODE_LABELS}) (rate(container_cpu_usage_seconds_total{{id="/"}}[5m]))',
    "node memory": f'sum by ({_NODE_LABELS}) (container_memory_working_set_bytes{{id="/"}})',
}
"""What is asked: milli-CPU and bytes."""
_TIMEOUT = aiohttp.ClientTimeout(total=30)


class _Vector(Struct, frozen=True):
    metric: dict[str, str] = {}
    value: tuple[float, str] = (0.0, "NaN")


class _Data(Struct, frozen=True):
    result: list[_Vector] = []


class _Answer(Struct, frozen=True):
    status: str = ""
    error: str = ""
    data: _Data = _Data()


class Prometheus:
    """The source. `url` is that of the server, as `http://prometheus.monitoring:9090`."""

    name = "Prometheus"

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._url, self._clock = url.rstrip("/"), clock

    async def read(self) -> Readings:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            found = {name: await self._ask(session, query) for name, query in QUERIES.items()}
        return Readings(
            self._joined(found["node cpu"], found["node memory"], _node),
            self._joined(found["pod cpu"], found["pod memory"], _pod),
        )

    async def _ask(self, session: aiohttp.ClientSession, query: str) -> list[_Vector]:
        """A query's instant vector. Raises OSError where the server gives none."""
        try:
            async with session.get(f"{self._url}/api/v1/query", params={"query": query}) as response:
                answer = msgspec.json.decode(await response.read(), type=_Answer)
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            raise OSError(f"{self._url} gives no answer that can be used: {error}") from error
        if answer.status != "success":
            raise OSError(f"{self._url} refuses a query: {answer.error}")
        return answer.data.result

    def _joined(
        self, cpu: list[_Vector], memory: list[_Vector], key_of: Callable[[Mapping[str, str]], str]
    ) -> dict[str, Reading]:
        now = self._clock()
        amounts = [{key_of(each.metric): float(each.value[1]) for each in side} for side in (cpu, memory)]
        return {
            key: Reading(amounts[0].get(key, nan), amounts[1].get(key, nan), now)
            for key in amounts[0].keys() | amounts[1].keys()
            if key
        }


def _pod(labels: Mapping[str, str]) -> str:
    return f"{labels.get('namespace', '')}/{labels.get('pod', '')}"


def _node(labels: Mapping[str, str]) -> str:
    """The name of a node: the label that says it, else the host of what was scraped."""
    named = labels.get("node") or labels.get("kubernetes_io_hostname")
    return named or labels.get("instance", "").rpartition(":")[0] or labels.get("instance", "")
