"""How far the snapshot is behind a real control plane whose pods change as fast as it lets them: from a write's sending to the snapshot.

The reader is a process of its own: `python -m benchmarks.live_churn KUBECONFIG` follows all pods until one says that it is the last.
"""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from benchmarks.figure import Figure, Peer
from neaptide.kube.cache import Cache
from neaptide.kube.logs import quiet
from neaptide.kube.streams import Stream, tell
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS
from neaptide.kubeapi.watch import Changed, Synced, changes

SECONDS = 20.0
_AT_ONCE = 32
_SENT = "bench.neaptide.io/sent"
_STAMP = re.compile(rb'"bench\.neaptide\.io/sent":"([\d.]+)"')
_LAST = 0.0


def lag_figures(kubeconfig: Path, pods: int) -> Iterator[Figure]:
    """Change pods `bound-0` to `bound-{pods - 1}` of the namespace `default`, 32 at a time, while another process follows them."""
    command = [sys.executable, "-m", "benchmarks.live_churn", str(kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None  # noqa: S101 - it is a pipe
        reader.stdout.readline()  # it has seen all pods
        answered = uvloop.run(_churn(kubeconfig, pods))
        lags = msgspec.json.decode(reader.stdout.read(), type=list[float])
    yield Figure("live_testbed.churn.events_per_second", len(lags) / SECONDS, "events/s")
    for part in (50, 99):
        lag, answer = (1000 * float(np.percentile(each, part)) for each in (lags, answered))
        yield Figure(f"live_testbed.churn.lag.p{part}.milliseconds", lag, "ms", Peer("the answer to the write", answer))


async def _churn(kubeconfig: Path, pods: int) -> list[float]:
    """Seconds that each write took to be answered."""
    answered: list[float] = []
    numbers = count()
    due = time.monotonic() + SECONDS
    async with Client(load(kubeconfig), qps=5000, burst=5000) as client:

        async def write() -> None:
            while (began := time.monotonic()) < due:
                await client.patch(PODS, f"bound-{next(numbers) % pods}", _stamp(began), "default")
                answered.append(time.monotonic() - began)

        await asyncio.gather(*(write() for _ in range(_AT_ONCE)))
        await client.patch(PODS, "bound-0", _stamp(_LAST), "default")
    return answered


def _stamp(sent: float) -> dict[str, dict[str, dict[str, str]]]:
    return {"metadata": {"annotations": {_SENT: f"{sent:.6f}"}}}


async def _follow(kubeconfig: Path) -> list[float]:
    """Seconds from the sending of each change until the snapshot had it."""
    quiet()
    cache, stream, lags = Cache(("Pod",)), Stream(PODS, ""), list[float]()
    async with Client(load(kubeconfig)) as client, aclosing(changes(client, PODS)) as events:
        async for event in events:
            stamp = _STAMP.search(bytes(event.raw)) if isinstance(event, Changed) else None
            tell(cache, stream, event)
            if isinstance(event, Synced):
                print("synced", flush=True)
            elif stamp is not None:
                sent = float(stamp[1])
                if sent == _LAST:
                    break
                lags.append(time.monotonic() - sent)
    return lags


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(_follow(Path(sys.argv[1])))).decode())
