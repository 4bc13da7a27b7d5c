"""Virtual kubelets against a real control plane, run beside the test that asks it things."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.kubelet import Timing, VirtualKubelet
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.pods import Patience
from neaptide.virtualnode.provider import PodProvider
from neaptide.virtualnode.providers.simulated import Simulated, SimulatedSpec
from neaptide.virtualnode.registration import Rhythm
from neaptide.virtualnode.serving.server import KubeletServer

AT_ONCE = SimulatedSpec(start_seconds=0.0, seconds_per_mb=0.0)
QUICK = Timing(Rhythm(ping=0.5, ping_within=0.5, status=5.0), Patience(call=2.0, look=1.0))


class Outside:
    """A loop of its own in a thread: providers and kubelets live in it, and the test, which is synchronous, starts and kills them."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(60)

    def close(self) -> None:
        async def end() -> None:
            others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()

    @contextmanager
    def kubelet(
        self,
        testbed: Testbed,
        name: str,
        provider: PodProvider,
        *,
        timing: Timing = QUICK,
        **settings: Any,
    ) -> Iterator[VirtualKubelet]:
        """A virtual kubelet that runs until the end of the block, and then is gone as after SIGKILL: nothing is said to anybody."""
        cluster = load(testbed.kubeconfig)
        made: list[VirtualKubelet] = []

        async def run(ready: asyncio.Event) -> None:
            async with Client(cluster, qps=500, burst=1000) as client:
                address = settings.setdefault("address", "127.0.0.1")
                async with KubeletServer(host=address, port=0, names=(address, name)) as server:
                    node = NodeSettings(name=name, provider="", **settings)
                    made.append(VirtualKubelet(client, provider, node, server=server, timing=timing))
                    ready.set()
                    await made[0].run()

        async def start() -> "asyncio.Task[None]":
            ready = asyncio.Event()
            task = asyncio.create_task(run(ready))
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            return task

        async def kill(task: "asyncio.Task[None]") -> None:
            task.cancel()
            await asyncio.wait({task})

        task = self.do(start())
        try:
            yield made[0]
        finally:
            self.do(kill(task))


@contextmanager
def outside() -> Iterator[Outside]:
    found = Outside()
    try:
        yield found
    finally:
        found.close()


def on(node: str, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod for a virtual node, to be placed by the scheduler."""
    container = {
        "name": "main",
        "image": "local.test/image:1",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
            "containers": [container],
            "restartPolicy": "Never",
            **spec,
        },
    }


def simulated(spec: SimulatedSpec = AT_ONCE) -> Simulated:
    return Simulated(spec)
