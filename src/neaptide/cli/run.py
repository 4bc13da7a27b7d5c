"""`neaptide run`: the controller."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import Parameter
from msgspec.structs import replace

from neaptide.cli.connection import DEFAULT, Connection
from neaptide.cli.costs import read_catalogue
from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.cli.settings import settings
from neaptide.kube.controller import Controller, Options
from neaptide.kube.logs import configure
from neaptide.kubeapi.config import Cluster
from neaptide.loop import Mode, Setting
from neaptide.policies.registry import POLICIES
from neaptide.records.log import LogInUseError

_LISTEN = re.compile(r"(?P<host>[^:]*|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


def run(
    *,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
    interval: float = 60.0,
    journal: Path | None = None,
    listen: str | None = None,
    lease_namespace: str | None = None,
    lease_seconds: int = 15,
    identity: str = "",
    prices: str | None = None,
    prometheus: str = "",
    policy: tuple[str, ...] = (),
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    enforce: bool = False,
    dry_run: bool = False,
) -> int:
    """Run until SIGTERM or SIGINT; then what is under way is finished, and the lease given up.

    Args:
        connection: which cluster, and as whom.
        interval: seconds from one cycle to the next.
        journal: the directory of the journal, for `neaptide explain --journal`.
        listen: host:port of /healthz, /readyz and /metrics, as :8080.
        lease_namespace: where the lease and the checkpoint are; by default the namespace of the connection.
        lease_seconds: how long the lease of a replica that died holds.
        identity: the name of this replica; by default host and process.
        prices: a price catalogue, until there are PriceCatalogue objects; by default the package's public list prices.
        prometheus: the URL of a Prometheus to ask for usage where the cluster serves none.
        policy: run this policy in place of what Policy objects say; may be repeated.
        set_: policy.field=value sets a field of such a policy; may be repeated.
        enforce: have these policies carried out, and not only shown.
        dry_run: ask the API server for everything, and have it change nothing.
    """
    cluster = connection.cluster()
    if interval <= 0:
        raise unacceptable("--interval", interval, "seconds above 0")
    if lease_seconds < 2:
        raise unacceptable("--lease-seconds", lease_seconds, "seconds from 2 on")
    if (enforce or set_) and not policy:
        raise UsageError(
            "--enforce and --set are about the policies that --policy names; Policy objects have their own"
        )
    catalogue, _ = read_catalogue(prices)
    options = Options(
        namespace=lease_namespace or cluster.namespace or "default",
        identity=identity,
        interval=interval,
        journal=journal,
        listen=None if listen is None else _address(listen),
        prometheus=prometheus,
        catalogue=catalogue,
        settings=_chosen(policy, set_, enforce=enforce) if policy else None,
        lease_seconds=lease_seconds,
        dry_run=dry_run,
    )
    configure()
    try:
        uvloop.run(_until_signalled(cluster, options))
    except (OSError, LogInUseError) as error:
        raise UsageError(str(error)) from error
    return OK


def _chosen(policy: tuple[str, ...], assignments: tuple[str, ...], *, enforce: bool) -> tuple[Setting, ...]:
    mode = Mode.ENFORCE if enforce else Mode.RECOMMEND
    return tuple(replace(each, mode=mode) for each in settings(POLICIES, policy, assignments))


def _address(text: str) -> tuple[str, int]:
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise unacceptable("--listen", text, "host:port, as :8080 or 127.0.0.1:8080")
    return match["host"].strip("[]") or "0.0.0.0", int(match["port"])  # noqa: S104 - kubelets and Prometheus come from outside the pod


async def _until_signalled(cluster: Cluster, options: Options) -> None:
    controller, loop = Controller(cluster, options), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, controller.stop)
    await controller.run()
