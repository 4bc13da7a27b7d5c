"""Simulated providers that break: they die or hang at each call, or the process that calls them ends at it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tests.virtualnode.virtual import AT_ONCE

from neaptide.kubeapi.client import Client
from neaptide.virtualnode.provider import Capacity, PodProvider, ProviderError, VirtualPod
from neaptide.virtualnode.providers.simulated import Simulated
from neaptide.virtualnode.states import PodState

T = TypeVar("T")
Point = Callable[[str], Awaitable[None]]
"""Is told each call, before it is made and after it was: it may raise, or never return."""


class Counting(Simulated):
    """Simulated pods, and how often each was really begun."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)
        self.begun: Counter[str] = Counter()

    async def create(self, pod: VirtualPod) -> None:
        before = set(self._lives)
        await super().create(pod)
        if pod.uid not in before:
            self.begun[pod.uid] += 1


class Breaking:
    """A provider whose every call passes a point before and after. What is behind it goes on, as a cloud does."""

    def __init__(self, behind: PodProvider, point: Point) -> None:
        self._behind, self._point = behind, point
        self.name, self.network, self.rate, self.burst = behind.name, behind.network, behind.rate, behind.burst
        self.refusal = behind.refusal

    async def ping(self) -> None:
        await self._through("ping", self._behind.ping())

    async def capacity(self) -> Capacity:
        return await self._through("capacity", self._behind.capacity())

    async def create(self, pod: VirtualPod) -> None:
        await self._through("create", self._behind.create(pod))

    async def update(self, pod: VirtualPod) -> None:
        await self._through("update", self._behind.update(pod))

    async def stop(self, uid: str, grace: float) -> None:
        await self._through("stop", self._behind.stop(uid, grace))

    async def remove(self, uid: str) -> None:
        await self._through("remove", self._behind.remove(uid))

    async def pods(self) -> Sequence[PodState]:
        return await self._through("pods", self._behind.pods())

    async def changes(self) -> AsyncIterator[PodState]:
        await self._point("changes")
        async for each in self._behind.changes():
            yield each

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    async def _through(self, name: str, call: Awaitable[T]) -> T:
        task = asyncio.ensure_future(call)  # so that it is made, whatever becomes of who asked for it
        try:
            await self._point(f"before {name}")
        except BaseException:
            task.cancel()
            raise
        found = await task
        await self._point(f"after {name}")
        return found


class Failing:
    """A point at which each named call fails, or hangs, so many times: half of them before it was done, half of them after."""

    def __init__(self, times: int, *, hangs: bool) -> None:
        self._left: Counter[str] = Counter()
        self._times, self._hangs = times, hangs

    async def __call__(self, at: str) -> None:
        self._left[at] += 1
        if self._left[at] > self._times:
            return
        if self._hangs:
            await asyncio.get_running_loop().create_future()
        raise ProviderError(f"died {at}")


class Killing:
    """A point at which the n-th call never returns; `reached` is then set, for the test to kill the process."""

    def __init__(self, number: int) -> None:
        self.number, self.passed, self.reached, self.at = number, 0, asyncio.Event(), ""

    async def __call__(self, at: str) -> None:
        if at.rsplit(maxsplit=1)[-1] in ("ping", "capacity", "pods", "changes"):
            return
        self.passed += 1
        if self.passed == self.number or self.reached.is_set():
            self.at = self.at or at
            self.reached.set()
            await asyncio.get_running_loop().create_future()


class MortalClient(Client):
    """A client whose writes to pods pass a point."""

    point: Point

    async def raw(self, method: str, path: str, **options: Any) -> bytes:
        mortal = method != "GET" and "/pods" in path
        if mortal:
            await self.point(f"before {method}")
        found = await super().raw(method, path, **options)
        if mortal:
            await self.point(f"after {method}")
        return found
