"""`neaptide testbed proxy`: a proxy before a testbed's API server that makes faults."""

import asyncio
import re
import signal
from contextlib import suppress
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


def proxy(
    *,
    name: str = "default",
    directory: Path | None = None,
    port: int = 0,
    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    path: str = "",
    chance: float = 1.0,
    times: int | None = None,
    delay: str = "0s",
    drop: bool = False,
    answer: int | None = None,
    retry_after: int | None = None,
    throttle: str | None = None,
    cut_after: str | None = None,
    cut_events: int | None = None,
    reset: bool = False,
) -> int:
    """Stand before the API server and make faults, until interrupted. Prints a kubeconfig that leads through the proxy.

    Args:
        name: of the cluster.
        directory: where it keeps everything, if not in the place by its name.
        port: to listen on; 0 takes any that is free.
        methods: of the requests to strike, such as GET or POST; by default all.
        path: a regular expression that the path and query of the requests to strike hold; by default all.
        chance: of such a request to be struck, 0 to 1.
        times: so many requests are struck, and no more.
        delay: until the request goes on, as in 200ms or 1.5s.
        drop: end the connection before the request goes on.
        answer: a status to answer in the server's place: 409, 410, 429, 500, 503 or 504.
        retry_after: seconds that this answer tells to wait.
        throttle: bytes a second at which answers go back, as in 64Ki.
        cut_after: bytes of the answer after which the connection ends, as in 10Ki; 0 loses all of it.
        cut_events: events of a watch after which the connection ends.
        reset: end connections by a TCP reset.
    """
    if not 0 <= chance <= 1:
        raise unacceptable("--chance", chance, "0 to 1")
    if answer is not None and answer not in REASONS:
        raise unacceptable("--answer", answer, ", ".join(str(int(status)) for status in REASONS))
    for option, count in (("--times", times), ("--cut-events", cut_events), ("--retry-after", retry_after)):
        if count is not None and count < 1:
            raise unacceptable(option, count, "1 or more")
    try:
        re.compile(path)
    except re.error as error:
        raise unacceptable("--path", path, f"a regular expression ({error})") from error
    seconds = go_duration(delay)
    if seconds is None or seconds < 0:
        raise unacceptable("--delay", delay, "a duration, as in 200ms or 1.5s")
    try:
        fault = Fault(
            methods=frozenset(method.upper() for method in methods),
            path=path,
            chance=chance,
            times=times,
            delay=seconds,
            drop=drop,
            answer=answer,
            retry_after=retry_after,
            bytes_per_second=_bytes("--throttle", throttle, 1),
            cut_bytes=_bytes("--cut-after", cut_after, 0),
            cut_events=cut_events,
            reset=reset,
        )
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
