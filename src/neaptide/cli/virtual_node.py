"""`neaptide virtual-node`: nodes that are no machines, until SIGTERM or SIGINT; their pods go on at the provider."""

import asyncio
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter
from msgspec import yaml
from msgspec.structs import replace

from neaptide.cli.connection import DEFAULT, Connection
from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.kube.logs import quiet
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ConfigError
from neaptide.model.problems import FieldError
from neaptide.records.log import LogInUseError
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.provider import ProviderError
from neaptide.virtualnode.registration import NotOursError

_ACCEPTABLE = (NotOursError, ConfigError, LogInUseError, ProviderError, FieldError, OSError)
"""What is wrong with the flags or the machine, and ends as a sentence."""
_MOST = 100
_PORT = 10250


@dataclass(frozen=True)
class BillFlags:
    """What pods hold, written down for `neaptide bill`."""

    ledger: Path | None = None
    """the directory of the ledger; none is kept by default."""
    tariff: str = "eci"
    """sizes and prices: eci, fargate, or a YAML file."""


@dataclass(frozen=True)
class KubeletFlags:
    """Where the API server reaches the nodes' kubelets, for kubectl logs, exec, attach and port-forward."""

    address: str = ""
    """the nodes' InternalIP; by default the address of this host towards the API server."""
    port: int = _PORT
    """of the first node, the next ones have the next; 0 for any that are free."""
    listen: str = ""
    """address to listen on; the nodes' by default."""


_BILL, _KUBELET = BillFlags(), KubeletFlags()


def virtual_node(
    *,
    name: str,
    provider: str,
    settings: Path | None = None,
    nodes: int = 1,
    label: tuple[str, ...] = (),
    taint: Annotated[bool, Parameter(negative="--no-taint")] = True,
    overflow: Annotated[bool, Parameter(negative="--no-overflow")] = True,
    identity: str = "",
    qps: float = 200.0,
    kubelet: Annotated[KubeletFlags, Parameter(name="*")] = _KUBELET,
    bill: Annotated[BillFlags, Parameter(name="*")] = _BILL,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
) -> int:
    """Keep virtual nodes. What it is told is in the API: it can be killed and started again at any time.

    Args:
        name: of the node; of several, NAME-0, NAME-1 and so on.
        provider: who runs the pods: simulated, containerd or cluster.
        settings: a YAML file with the provider's settings.
        nodes: how many; about 3,000 pods each.
        taint: whether pods must tolerate virtual-kubelet.io/provider.
        overflow: whether pods that have opted in are let onto the nodes once no real node has room.
        label: a label of the nodes, as key=value; may be repeated.
        identity: of this process, unlike that of any other that keeps these nodes; by default its host and process number. With a fixed one, what is
            started again after a crash need not wait for 15 s.
        qps: requests a second to the API server.
        kubelet: where the API server reaches the nodes' kubelets.
        bill: where what pods hold is written down.
        connection: to the cluster.
    """
    if not 1 <= nodes <= _MOST:
        raise unacceptable("--nodes", nodes, f"1 to {_MOST}")
    cluster = connection.cluster()
    labels = dict(_pair(each) for each in label)
    address = kubelet.address or _own_address(cluster.server)
    first = NodeSettings(name=name, provider=provider, address=address, port=kubelet.port, labels=labels, taint=taint)
    quiet()
    try:
        asyncio.run(
            _keep(
                Client(cluster, qps=qps, burst=int(2 * qps)),
                provider,
                _settings(settings),
                _numbered(first, nodes),
                kubelet,
                bill,
                overflow=overflow,
                identity=identity,
            )
        )
    except _ACCEPTABLE as error:
        raise UsageError(str(error)) from error
    except ExceptionGroup as group:
        if group.split(_ACCEPTABLE)[1] is not None:
            raise
        raise UsageError("; ".join(str(each) for each in _leaves(group))) from group
    return OK


def _numbered(first: NodeSettings, count: int) -> list[NodeSettings]:
    """One node as it is; of several, each with its number in its name and the next port."""
    if count == 1:
        return [first]
    return [
        replace(first, name=f"{first.name}-{number}", port=first.port + number if first.port else 0)
        for number in range(count)
    ]


async def _keep(
    wire: Client,
    provider: str,
    settings: dict[str, Any],
    nodes: list[NodeSettings],
    kubelet: KubeletFlags,
    bill: BillFlags,
    *,
    overflow: bool,
    identity: str,
) -> None:
    from neaptide.pricing.tariff_files import TariffError, load
    from neaptide.virtualnode.providers.registry import make
    from neaptide.virtualnode.running import Accounts, run

    try:
        accounts = Accounts(bill.ledger, load(bill.tariff)) if bill.ledger else None
    except TariffError as error:
        raise UsageError(f"--tariff {error}") from error
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    async with wire as client:
        made = make(provider, settings, client)
        running = asyncio.create_task(
            run(
                client,
                made,
                nodes,
                host=kubelet.listen,
                accounts=accounts,
                overflow=overflow,
                identity=identity,
            )
        )
        stopping = asyncio.create_task(signalled.wait())
        print(f"neaptide: {', '.join(each.name for each in nodes)}: provider {provider}", file=sys.stderr, flush=True)
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
        finally:
            for task in (running, stopping):
                task.cancel()
            await asyncio.gather(running, stopping, return_exceptions=True)


def _settings(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        found = yaml.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"--settings {file}: {error}; accepted: a YAML mapping") from error
    return found


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise unacceptable("--label", text, "key=value")
    return key, value


def _own_address(server: str) -> str:
    """The address from which this host speaks to the API server; nothing is sent."""
    url = urlsplit(server)
    host, port = url.hostname or "127.0.0.1", url.port or 443
    with suppress(OSError):
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
