"""`neaptide testbed proxy`: a proxy before a testbed's API server that makes faults."""

import asyncio
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.model.quantity import QuantityError, value
from neaptide.model.times import go_duration
from neaptide.testbed.cluster import Testbed, directory_of
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.faults import REASONS, Fault
from neaptide.testbed.proxy import Proxy

_SHOW_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class FaultFlags:
    """Which requests are struck, and what befalls them."""

    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    """of the requests to strike, such as GET or POST; by default all."""
    path: str = ""
    """a regular expression that the path and query of the requests to strike hold; by default all."""
    chance: float = 1.0
    """of such a request to be struck, 0 to 1."""
    times: int | None = None
    """so many requests are struck, and no more."""
    delay: str = "0s"
    """until the request goes on, as in 200ms or 1.5s."""
    drop: bool = False
    """end the connection before the request goes on."""
    answer: int | None = None
    """a status to answer in the server's place: 409, 410, 429, 500, 503 or 504."""
    retry_after: int | None = None
    """seconds that this answer tells to wait."""
    throttle: str | None = None
    """bytes a second at which answers go back, as in 64Ki."""
    cut_after: str | None = None
    """bytes of the answer after which the connection ends, as in 10Ki; 0 loses all of it."""
    cut_events: int | None = None
    """events of a watch after which the connection ends."""
    reset: bool = False
    """end connections by a TCP reset."""

    def fault(self) -> Fault:
        """What they say. Raises UsageError."""
        if not 0 <= self.chance <= 1:
            raise unacceptable("--chance", self.chance, "0 to 1")
        if self.answer is not None and self.answer not in REASONS:
            raise unacceptable("--answer", self.answer, ", ".join(str(int(status)) for status in REASONS))
        counts = {"--times": self.times, "--cut-events": self.cut_events, "--retry-after": self.retry_after}
        for option, count in counts.items():
            if count is not None and count < 1:
                raise unacceptable(option, count, "1 or more")
        try:
            re.compile(self.path)
        except re.error as error:
            raise unacceptable("--path", self.path, f"a regular expression ({error})") from error
        seconds = go_duration(self.delay)
        if seconds is None or seconds < 0:
            raise unacceptable("--delay", self.delay, "a duration, as in 200ms or 1.5s")
        return Fault(
            methods=frozenset(method.upper() for method in self.methods),
            path=self.path,
            chance=self.chance,
            times=self.times,
            delay=seconds,
            drop=self.drop,
            answer=self.answer,
            retry_after=self.retry_after,
            bytes_per_second=_bytes("--throttle", self.throttle, 1),
            cut_bytes=_bytes("--cut-after", self.cut_after, 0),
            cut_events=self.cut_events,
            reset=self.reset,
        )


_NO_FLAGS = FaultFlags()


def proxy(
    *,
    name: str = "default",
    directory: Path | None = None,
    port: int = 0,
    faults: Annotated[FaultFlags, Parameter(name="*")] = _NO_FLAGS,
) -> int:
    """Stand before the API server and make faults, until interrupted. Prints a kubeconfig that leads through the proxy.

    Args:
        name: of the cluster.
        directory: where it keeps everything, if not in the place by its name.
        port: to listen on; 0 takes any that is free.
        faults: that befall requests.
    """
    fault = faults.fault()
    try:
        site = Testbed(directory or directory_of(name)).site
        asyncio.run(_stand(Proxy(site, [fault], port=port)))
    except TestbedError as error:
        raise UsageError(str(error)) from error
    return OK


async def _stand(standing: Proxy) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with standing:
        print(f"The proxy listens at {standing.address}.\n\n  export KUBECONFIG={standing.kubeconfig}\n", flush=True)
        told = 0
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _SHOW_EVERY)
            if standing.struck > told:
                print(f"{standing.struck - told} requests were struck, {standing.struck} in all.", flush=True)
                told = standing.struck


def _bytes(option: str, text: str | None, least: int) -> int | None:
    if text is None:
        return None
    try:
        amount = value(text)
    except QuantityError:
        amount = -1
    if amount < least:
        raise unacceptable(option, text, f"{least} or more bytes, as in 64Ki")
    return amount
