"""What twins of a service that suffers wait for: other pods of its workload on other nodes, read from the NodeMetrics that their agents write.

Where they suffer alike it is load, and nobody beside the service is to blame. Only while one suffers does its agent list pods with its labels (one page), and read the
metrics of a few: of those that follow its own name, so that the agents of a large workload do not all ask for the same ones.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import msgspec

from neaptide.agent.pods import NodePods, Pod, listed
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError, NotFound
from neaptide.kubeapi.resources import NODE_METRIC, PODS
from neaptide.model.node_metric import SIGNALS, NodeMetric, Signals

EVERY = 15.0
"""Seconds from one question about a service to the next."""
_LOOK = 5.0
_KEPT = 60.0
_OLD = 180.0
_PAGE, _ASKED, _FEWEST = 50, 5, 2
_OF_ONE_POD = (
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
)


class _Answer(NamedTuple):
    """The medians of what twins wait for, by signal, and when they were asked for (monotonic seconds)."""

    at: float
    medians: Mapping[str, float]


class Twins:
    """Asks for the twins of a node's services.

    Args:
        node: its name; twins that share it suffer from the same neighbours, and tell nothing.
        pods: of the node.
        suffering: the UIDs of those who suffer now.
        say: takes a sentence for the log.
        clock: monotonic seconds.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        node: str,
        pods: NodePods,
        suffering: Callable[[], Collection[str]],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._node, self._pods, self._suffering, self._say = node, pods, suffering, say
        self._clock, self._wall = clock, wall
        self._answers: dict[str, _Answer] = {}
        self._said = ""

    def now(self) -> Mapping[str, Mapping[str, float]]:
        """The medians by the pod's UID and the signal; a signal that fewer than two twins have told of is not there."""
        oldest = self._clock() - _KEPT
        return {uid: answer.medians for uid, answer in self._answers.items() if answer.at >= oldest}

    async def run(self, client: Client) -> None:
        """Ask again and again until cancelled."""
        while True:
            await self.ask(client)
            await asyncio.sleep(_LOOK)

    async def ask(self, client: Client) -> None:
        """Ask about those who suffer and have not been asked about for a while."""
        now = self._clock()
        self._answers = {uid: answer for uid, answer in self._answers.items() if now - answer.at < _KEPT}
        for uid in list(self._suffering()):
            pod, before = self._pods.by_uid.get(uid), self._answers.get(uid)
            if pod is None or (before is not None and now - before.at < EVERY):
                continue
            try:
                self._answers[uid] = _Answer(now, await self._medians(client, pod))
            except ApiError as error:
                self._tell(f"the twins of {pod.name} could not be asked for: {error}")

    async def _medians(self, client: Client, pod: Pod) -> Mapping[str, float]:
        told: defaultdict[str, list[float]] = defaultdict(list)
        for twin in _some(await self._twins(client, pod), pod.name):
            try:
                raw = await client.get(NODE_METRIC, twin.spec.node_name)
            except NotFound:
                continue
            for kind, value in self._signals(raw, twin.name).items():
                told[kind].append(value)
        return {kind: median(values) for kind, values in told.items() if len(values) >= _FEWEST}

    async def _twins(self, client: Client, pod: Pod) -> list[Pod]:
        """Those on other nodes, by name."""
        labels = {key: value for key, value in pod.metadata.labels.items() if key not in _OF_ONE_POD}
        owner = pod.controller
        if not owner or not labels:
            return []
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        found: list[Pod] = []
        async for page in client.list(PODS, pod.metadata.namespace, label_selector=selector, limit=_PAGE):
            found = [each for each in listed(page) if each.controller == owner]
            break
        return sorted(
            (each for each in found if each.spec.node_name not in ("", self._node)), key=lambda each: each.name
        )

    def _signals(self, raw: bytes, name: str) -> Mapping[str, float]:
        """What a node's metric says of a pod; nothing where it is old, or cannot be read."""
        try:
            metric = msgspec.json.decode(raw, type=NodeMetric)
            if not metric.is_recent(_OLD, self._wall()):
                return {}
            pods = (each for each in metric.status.pods_metric if f"{each.namespace}/{each.name}" == name)
            return next((msgspec.convert(each.extensions[SIGNALS], Signals).lately for each in pods), {})
        except (msgspec.MsgspecError, KeyError):
            return {}

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._say(sentence)
        self._said = sentence


def _some(twins: Sequence[Pod], name: str) -> Sequence[Pod]:
    """A few, from the first that comes after a name on, as on a ring."""
    first = next((at for at, each in enumerate(twins) if each.name > name), 0)
    return [*twins[first:], *twins[:first]][:_ASKED]
