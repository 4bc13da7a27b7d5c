"""Evictions that keep a node safe: through the eviction API, so that budgets hold, and told before they are made.

The pod gets the condition `DisruptionTarget` with a reason of ours first. The controller counts pods with it against the budgets of
their workloads; evictions through the API that are not its own it would not know.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from neaptide.agent.pods import Pod
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.errors import ApiError, NotFound
from neaptide.kubeapi.resources import PODS

REASON = "EvictionByNodeAgent"
_PAUSE = 20.0
"""Seconds for which a pod is spared whose eviction was refused, so that others are asked."""


class Evictions:
    """Evicts pods, one task for each.

    Args:
        client: the wire; None evicts nobody, and says who would be.
        say: takes a sentence for the log.
        clock: monotonic seconds.
    """

    def __init__(self, client: Client | None, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._client, self._say, self._clock = client, say, clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, float] = {}

    def spares(self, uid: str) -> bool:
        """Whether a pod must not be chosen now: its eviction was refused a moment ago."""
        return self._clock() < self._refused.get(uid, 0.0)

    def under_way(self, uid: str) -> bool:
        """Whether a pod is being evicted."""
        return uid in self._tasks

    def evict(self, pod: Pod, why: str) -> None:
        """Have a pod evicted soon."""
        uid = pod.metadata.uid
        self._refused = {each: until for each, until in self._refused.items() if until > self._clock()}
        if self._client is None:
            self._refused[uid] = self._clock() + _PAUSE
            self._say(f"would evict {pod.name}: {why}")
            return
        task = asyncio.get_running_loop().create_task(self._evict(self._client, pod, why))
        self._tasks[uid] = task
        task.add_done_callback(lambda _: self._tasks.pop(uid, None))

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _evict(self, client: Client, pod: Pod, why: str) -> None:
        meta = pod.metadata
        try:
            await self._mark(client, pod, "True", why)
            await client.evict(meta.name, meta.namespace, uid=meta.uid)
            self._say(f"evicted {pod.name}: {why}")
        except NotFound:
            self._say(f"{pod.name} is gone already")
        except ApiError as error:
            self._refused[meta.uid] = self._clock() + _PAUSE
            self._say(f"could not evict {pod.name} ({why}): {error}")
            await self._unmark(client, pod)

    async def _mark(self, client: Client, pod: Pod, status: str, message: str) -> None:
        meta = pod.metadata
        condition = {
            "type": "DisruptionTarget",
            "status": status,
            "reason": REASON,
            "message": message,
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = {"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}}
        await client.patch(PODS, meta.name, body, meta.namespace, kind=Patch.STRATEGIC, subresource="status")

    async def _unmark(self, client: Client, pod: Pod) -> None:
        try:
            await self._mark(client, pod, "False", "the eviction was refused")
        except ApiError as error:
            self._say(f"could not tell that {pod.name} stays: {error}")
