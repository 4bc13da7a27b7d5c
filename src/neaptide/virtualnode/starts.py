"""Whose pod is started next: within the provider's rate, and fair between namespaces.

Namespaces take turns, so that one with a thousand pods waiting does not keep another's single pod from starting.
"""

import asyncio
from collections import OrderedDict, deque

from neaptide.kubeapi.pace import TokenBucket


class Starts:
    """Lets pods start, `burst` at once and `rate` a second after that. Shared by all virtual nodes of one provider."""

    def __init__(self, rate: float, burst: int) -> None:
        self._bucket = TokenBucket(rate, burst)
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._serving: asyncio.Task[None] | None = None

    async def turn(self, namespace: str) -> None:
        """Wait for the turn of one pod of a namespace."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(namespace, deque()).append(waiter)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        await waiter

    async def _serve(self) -> None:
        """While anybody waits. A turn is given away only when there is somebody to take it."""
        while self._waiting:
            await self._bucket.take()
            while (waiter := self._next()) is not None:
                if not waiter.done():  # cancelled, where its pod was deleted meanwhile
                    waiter.set_result(None)
                    break

    def _next(self) -> asyncio.Future[None] | None:
        """The first in the queue of the namespace whose turn it is, which then goes to the end."""
        if not self._waiting:
            return None
        namespace, queue = self._waiting.popitem(last=False)
        waiter = queue.popleft()
        if queue:
            self._waiting[namespace] = queue
        return waiter
