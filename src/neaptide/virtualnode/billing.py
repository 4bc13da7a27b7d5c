"""What a virtual node's pods hold, into the ledger: as the provider tells it, again and again, and before it forgets a pod.

The ledger opens and closes a lease once, however often it is told; so a process that was killed loses no second and charges none twice.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog

from neaptide.pricing.tariff import Size, Tariff
from neaptide.records.ledger import Ledger, Opened
from neaptide.virtualnode.provider import PodProvider, Run

_EVERY, _SOON = 60.0, 1.0
_MIB = 2**20


class Bill:
    """Keeps the ledger of one node.

    Args:
        ledger: shared by the nodes of a process, of which it is the only writer.
        tariff: sizes and prices.
        provider: who knows what ran.
        node: whose pods; runs whose provider names no node count as this node's.
        writing: held while the ledger is written; one for all nodes that share it.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        tariff: Tariff,
        provider: PodProvider,
        node: str,
        *,
        writing: asyncio.Lock | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writing = writing or asyncio.Lock()
        self._ledger, self._tariff, self._provider = ledger, tariff, provider
        self._node, self._clock = node, clock
        self._lock = asyncio.Lock()
        self._begun = self._done = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Settle every minute, and soon after each change, until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self.settled()
            except Exception as error:  # noqa: BLE001 - a provider that is away is asked again
                structlog.get_logger().warning("the bill is not settled", node=self._node, reason=str(error))
            await asyncio.sleep(_SOON)
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._changed.wait()

    def changed(self) -> None:
        """A pod began or ended."""
        self._changed.set()

    async def settled(self) -> None:
        """Return when all that was held until this call is in the ledger and on the disk; calls that wait are settled together.

        Raises ProviderError, OSError.
        """
        ticket = self._begun + 1
        async with self._lock:
            if self._done >= ticket:
                return
            self._begun += 1
            runs = [each for each in await self._provider.runs(0.0) if each.node in ("", self._node)]
            async with self._writing:
                await asyncio.to_thread(self._write, runs)
            self._done = self._begun

    def _write(self, runs: Iterable[Run]) -> None:
        name = self._provider.name
        self._ledger.reconcile(name, self._node, [(self.opened(each), each.ended) for each in runs])
        self._ledger.seen(name, self._node, self._clock())

    def opened(self, run: Run) -> Opened:
        """The lease of a run, at the size and price of the tariff; the price is unknown where the tariff sells no such size."""
        requests = {"cpu": run.cpu, "memory": run.memory} | ({"gpu": run.gpus} if run.gpus else {})
        size = self._tariff.size_for(requests)
        held = size or Size(run.cpu, -(-run.memory // _MIB))
        return Opened(
            uid=run.uid,
            provider=self._provider.name,
            node=self._node,
            namespace=run.namespace,
            pod=run.name,
            workload=_workload(run),
            started=run.started,
            cpu_milli=held.cpu_milli,
            memory_mib=held.memory_mib,
            tariff=self._tariff.name,
            price_per_hour=self._tariff.price_per_hour(held, spot=run.spot) if size else None,
            spot=run.spot,
            granularity_seconds=int(self._tariff.billing.granularity_seconds),
            minimum_seconds=int(self._tariff.billing.minimum_seconds),
        )


def _workload(run: Run) -> str:
    """The pod's controller, as `Job/pi`, else the pod itself."""
    owners = run.object.get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    return f"{owner['kind']}/{owner['name']}" if owner else f"Pod/{run.name}"
