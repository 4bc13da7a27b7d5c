"""The latencies that services export, asked for every few seconds: of their pods, or of a Prometheus.

Whoever does not answer within two seconds, answers with more than a megabyte or with nothing that was asked for has an unknown latency.
It is told once, and asked again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from math import isfinite, isnan
from typing import Any, NamedTuple

import aiohttp
import msgspec
from msgspec import Struct

from neaptide.agent.objectives import Objective, ObjectiveError, objective_of
from neaptide.agent.pods import NodePods, Pod
from neaptide.model.node_metric import OBJECTIVE
from neaptide.model.node_metric import Objective as ToldObjective
from neaptide.model.qos import QoS
from neaptide.noderules.exposition import Exposed, exposed, latency

EVERY = 5.0
"""Seconds."""
_OLD = 3 * EVERY
_WITHIN = aiohttp.ClientTimeout(total=2)
_MOST = 1 << 20
_AT_ONCE = 8


class Latency(NamedTuple):
    """A service's latency, and when it was measured, in monotonic seconds."""

    told: ToldObjective
    at: float

    @property
    def ratio(self) -> float:
        """To what it shall be."""
        return self.told.seconds / self.told.objective


class _Vector(Struct, frozen=True):
    value: tuple[float, str] = (0.0, "NaN")


class _Data(Struct, frozen=True):
    result: list[_Vector] = []


class _Answer(Struct, frozen=True):
    data: _Data = _Data()


class Latencies:
    """Asks the services of a node.

    Args:
        pods: of the node.
        say: takes what a sentence is about, and the sentence; the same one is told once.
        prometheus: the URL of the server that queries are for; empty for none.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pods: NodePods,
        say: Callable[[str], None],
        prometheus: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pods, self._say, self._clock = pods, say, clock
        self._prometheus = prometheus.rstrip("/")
        self._before: dict[str, Exposed] = {}
        self._found: dict[str, Latency] = {}
        self._told: dict[str, str] = {}

    def now(self) -> Mapping[str, Latency]:
        """By UID, those that are known and not old."""
        oldest = self._clock() - _OLD
        return {uid: each for uid, each in self._found.items() if each.at >= oldest}

    def extension(self, uid: str) -> Mapping[str, Any]:
        """What the metric of a pod says besides."""
        found = self.now().get(uid)
        if found is None:
            return {}
        return {OBJECTIVE: msgspec.to_builtins(found.told)}

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        async with aiohttp.ClientSession(timeout=_WITHIN, trust_env=False) as session:
            while True:
                await self.ask(session)
                await asyncio.sleep(EVERY)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Ask every service that has an objective once."""
        pods = dict(self._pods.by_uid)
        of_pods: tuple[dict[str, Any], ...] = (self._before, self._found, self._told)
        for known in of_pods:
            for gone in known.keys() - pods.keys():
                del known[gone]
        some = asyncio.Semaphore(_AT_ONCE)

        async def one(uid: str, pod: Pod) -> None:
            async with some:
                await self._ask(session, uid, pod)

        await asyncio.gather(*(one(uid, pod) for uid, pod in pods.items()))

    async def _ask(self, session: aiohttp.ClientSession, uid: str, pod: Pod) -> None:
        try:
            objective = objective_of(pod) if pod.runs and pod.qos is not QoS.BE else None
            if objective is None:
                return
            seconds = await (self._query if objective.query else self._scrape)(session, uid, pod, objective)
        except (ObjectiveError, aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError, ValueError) as error:
            self._tell(uid, f"{pod.name}: its latency is unknown: {error or type(error).__name__}")
            return
        self._tell(uid, "")
        if seconds is not None and isfinite(seconds) and seconds > 0:
            told = ToldObjective(seconds, objective.seconds, objective.quantile)
            self._found[uid] = Latency(told, self._clock())

    async def _scrape(self, session: aiohttp.ClientSession, uid: str, pod: Pod, objective: Objective) -> float | None:
        if not pod.status.pod_ip:
            return None
        host = f"[{pod.status.pod_ip}]" if ":" in pod.status.pod_ip else pod.status.pod_ip
        text = (await _body(session, f"http://{host}:{objective.port}{objective.path}", {})).decode(errors="replace")
        now = exposed(text, objective.metric)
        if not now.buckets and not now.quantiles and isnan(now.value):
            raise ValueError(f"port {objective.port}{objective.path} exports no {objective.metric}")
        before, self._before[uid] = self._before.get(uid), now
        return latency(before, now, objective.quantile)

    async def _query(self, session: aiohttp.ClientSession, uid: str, pod: Pod, objective: Objective) -> float | None:
        del uid, pod
        if not self._prometheus:
            raise ValueError("it names a query, and the agent was given no --prometheus")
        raw = await _body(session, f"{self._prometheus}/api/v1/query", {"query": objective.query})
        found = msgspec.json.decode(raw, type=_Answer).data.result
        return max((float(each.value[1]) for each in found), default=None)

    def _tell(self, uid: str, sentence: str) -> None:
        if sentence and self._told.get(uid) != sentence:
            self._say(sentence)
        self._told[uid] = sentence


async def _body(session: aiohttp.ClientSession, url: str, query: Mapping[str, str]) -> bytes:
    """What a server answers. Raises ValueError where it refuses, or says too much."""
    async with session.get(url, params=query, allow_redirects=False) as response:
        raw = await response.content.read(_MOST)
        while len(raw) < _MOST and (more := await response.content.read(_MOST - len(raw))):
            raw += more
        if response.status != 200:
            raise ValueError(f"{url} answers {response.status}")
        if len(raw) >= _MOST:
            raise ValueError(f"{url} answers with more than {_MOST} bytes")
        return raw
