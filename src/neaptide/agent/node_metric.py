"""The agent's word on its node: a NodeMetric object (`slo.koordinator.sh/v1alpha1`) as Koordinator's agent writes it.

A NodeMetric that ours did not make is Koordinator's, and is left alone. Where the kind is not installed nothing is written.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from neaptide.agent.groups import Groups
from neaptide.agent.own_node import NodeFacts
from neaptide.agent.pods import Pod
from neaptide.agent.readings import Look
from neaptide.agent.usage_window import Round, UsageWindow
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError, Conflict, NotFound
from neaptide.kubeapi.resources import NODE_METRIC, NODES
from neaptide.model.qos import band_of
from neaptide.model.real_time import RESOURCES
from neaptide.model.times import timestamp

OWNED = {"app.kubernetes.io/managed-by": "neaptide"}
_NOT_INSTALLED = 300.0
_PATIENT = 60.0
"""Seconds for which nothing is written where the node is not known: its object would not go with it."""
_MEMORY_EVERY = 10.0  # seconds
_LOOK = 10.0
"""Seconds from one look at real-time data to the next."""
_MOVED = 0.1
"""Real-time data that has changed by so much, of what is full, is told before its time."""


class Reporting(NamedTuple):
    """Koordinator's metricReportIntervalSeconds and metricAggregateDurationSeconds, and its defaults."""

    interval: float = 60.0
    window: float = 300.0


class _Meta(Struct):
    labels: dict[str, str] = {}


class _Object(Struct):
    metadata: _Meta = field(default_factory=_Meta)


class NodeReport:
    """Adds up what rounds saw, and writes it down now and then.

    Args:
        node: its name.
        reporting: how often, and over what time use is averaged.
        say: takes a sentence for the log.
        clock: seconds since the epoch.
        extensions: what else is to be said of a pod, by its UID.
        real_time: looks at what the node shows at once, by the names of `neaptide.model.real_time`.
        news: a number that changes with what is worth telling before its time.
        facts: what is known of the node, with which its object goes; without it the object stays.
    """

    def __init__(
        self,
        node: str,
        reporting: Reporting,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.time,
        extensions: Callable[[str], Mapping[str, Any]] = lambda _: {},
        real_time: Callable[[], Mapping[str, float]] = dict,
        news: Callable[[], int] = int,
        facts: Callable[[], NodeFacts] | None = None,
    ) -> None:
        self._node, self._reporting, self._say, self._clock = node, reporting, say, clock
        self._extensions, self._real_time, self._news, self._facts = extensions, real_time, news, facts
        self._now: Mapping[str, float] = {}
        self._window = UsageWindow(reporting.window)
        self._pods: dict[str, Pod] = {}
        self._memory_at = float("-inf")
        self._said = ""

    def see(self, now: float, look: Look, groups: Groups) -> None:
        """Take a round in."""
        if look.anew:
            self._pods = {each.at.uid: look.objects[each.at.uid] for each in look.pods if each.at.uid in look.objects}
        whole: int | None = None
        memory: dict[str, int] = {}
        if now - self._memory_at >= _MEMORY_EVERY:
            self._memory_at = now
            whole = look.memory.used
            used = {each.at.uid: groups.memory_used(each.at.group) for each in look.pods}
            memory = {uid: amount for uid, amount in used.items() if amount is not None}
        self._window.add(Round(now, look.use.seconds, look.use.node, look.use.by_uid, whole, memory))

    def status(self) -> dict[str, Any] | None:
        """The status to write; None before the node's CPU and memory are known."""
        window = self._window
        cpu, memory = window.node_cpu(), window.node_memory()
        if isnan(cpu) or isnan(memory):
            return None
        pods = {uid: (window.pod_cpu(uid), window.pod_memory(uid)) for uid in self._pods}
        rest = [
            whole - sum(each[at] for each in pods.values() if not isnan(each[at]))
            for at, whole in ((0, cpu), (1, memory))
        ]
        percentiles = {name: _amounts(value, memory) for name, value in window.cpu_percentiles().items()}
        aggregated = {
            "usage": {"avg": _amounts(cpu, memory), **percentiles},
            "duration": f"{self._reporting.window:g}s",
        }
        return {
            "updateTime": timestamp(self._clock()),
            "nodeMetric": {
                "nodeUsage": _amounts(cpu, memory, self._now),
                "systemUsage": _amounts(max(rest[0], 0.0), max(rest[1], 0.0)),
                "aggregatedNodeUsages": [aggregated],
            },
            "podsMetric": [self._pod(uid, *pods[uid]) for uid in sorted(self._pods)],
        }

    async def run(self, client: Client) -> None:
        """Write again and again until cancelled; what cannot be written is told once."""
        self._now = self._real_time()
        patient_until = time.monotonic() + _PATIENT
        while True:
            pause, written = self._reporting.interval, False
            known = self._facts is None or bool(self._facts().uid) or time.monotonic() > patient_until
            status = self.status() if known else None
            if status is None:
                pause = min(pause, 1.0)
            else:
                try:
                    written = await self.write(client, status)
                    self._tell("" if written else "the node's NodeMetric is another agent's, and is left to it")
                except NotFound:
                    self._tell("NodeMetric is not installed, so use is not told to the controller")
                    pause = max(pause, _NOT_INSTALLED)
                except ApiError as error:
                    self._tell(f"the NodeMetric could not be written: {error}")
            self._now = await self._pause(pause, early=written)

    async def _pause(self, seconds: float, *, early: bool) -> Mapping[str, float]:
        """Wait so long, with `early` only while there is no news and real-time data stays about what it was; what it is by then."""
        end, news = time.monotonic() + seconds, self._news()
        while True:
            await asyncio.sleep(min(max(end - time.monotonic(), 0.0), _LOOK))
            seen = self._real_time()
            if time.monotonic() >= end or (early and (self._news() != news or _moved(self._now, seen))):
                return seen

    async def write(self, client: Client, status: Mapping[str, Any]) -> bool:
        """Write the status into the node's object, made where it is not there; whether the object is ours.

        Raises ApiError; NotFound without the kind.
        """
        try:
            raw = await client.get(NODE_METRIC, self._node)
        except NotFound:
            try:
                raw = await client.create(NODE_METRIC, self._object())
            except Conflict:  # somebody was faster
                raw = await client.get(NODE_METRIC, self._node)
        labels = msgspec.json.decode(raw, type=_Object).metadata.labels
        if not OWNED.items() <= labels.items():
            return False
        await client.patch(NODE_METRIC, self._node, {"status": status}, subresource="status")
        return True

    def _object(self) -> dict[str, Any]:
        """The object before anything is measured."""
        policy = {
            "aggregateDurationSeconds": int(self._reporting.window),
            "reportIntervalSeconds": int(self._reporting.interval),
        }
        uid = "" if self._facts is None else self._facts().uid
        node = {"apiVersion": NODES.api_version, "kind": NODES.kind, "name": self._node, "uid": uid}
        return {
            "apiVersion": NODE_METRIC.api_version,
            "kind": NODE_METRIC.kind,
            "metadata": {"name": self._node, "labels": OWNED, "ownerReferences": [node] if uid else []},
            "spec": {"metricCollectPolicy": policy},
        }

    def _pod(self, uid: str, cpu: float, memory: float) -> dict[str, Any]:
        pod = self._pods[uid]
        meta = pod.metadata
        found: dict[str, Any] = {
            "name": meta.name,
            "namespace": meta.namespace,
            "priority": f"koord-{band_of(meta.labels, pod.spec.priority).name.lower()}",
            "podUsage": _amounts(cpu, memory),
        }
        if pod.qos is not None:
            found["qos"] = pod.qos.name
        extensions = self._extensions(uid)
        return found | ({"extensions": dict(extensions)} if extensions else {})

    def _tell(self, sentence: str) -> None:
        if sentence and sentence != self._said:
            self._say(sentence)
        self._said = sentence


def _moved(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether something has changed so much that it is to be told."""
    return any(abs(now[name] - before.get(name, 0.0)) >= _MOVED for name in now)


def _amounts(cpu: float, memory: float, others: Mapping[str, float] | None = None) -> dict[str, dict[str, str]]:
    """Quantities; what is unknown is not named."""
    found = {} if isnan(cpu) else {"cpu": f"{round(cpu)}m"}
    found |= {} if isnan(memory) else {"memory": str(round(memory))}
    return {"resources": found | {RESOURCES[name]: f"{round(1000 * value)}m" for name, value in (others or {}).items()}}
