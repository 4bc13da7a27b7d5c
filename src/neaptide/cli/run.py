"""`neaptide run`: the controller."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Annotated, Literal

import uvloop
from cyclopts import Parameter
from msgspec.structs import replace

from neaptide.cli.connection import DEFAULT, Connection
from neaptide.cli.costs import read_catalogue
from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.cli.scheduling import DEFAULT_SCHEDULER, SchedulerFlags
from neaptide.cli.settings import settings
from neaptide.kube.admission import Place
from neaptide.kube.controller import Controller, Options
from neaptide.kube.journal_server import JournalPlace
from neaptide.kube.logs import configure
from neaptide.kube.scheduler.alone import Alone, SchedulerProcess
from neaptide.loop import Mode, Setting
from neaptide.policies.registry import POLICIES
from neaptide.records.log import LogInUseError

_LISTEN = re.compile(r"(?P<host>[^:]*|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


def run(
    *,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
    only: Literal["loop", "scheduler"] | None = None,
    scheduler: Annotated[SchedulerFlags, Parameter(name="*")] = DEFAULT_SCHEDULER,
    interval: float = 60.0,
    journal: Path | None = None,
    journal_listen: str | None = None,
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
    webhook: str | None = None,
    webhook_service: str = "neaptide-webhook",
    webhook_configuration: str = "neaptide",
    admission_policies: bool = False,
) -> int:
    """Run until SIGTERM or SIGINT; then what is under way is finished, and the lease given up.

    Args:
        connection: which cluster, and as whom.
        only: do only this part of the work: the loop of policies, or the scheduler; by default both, with --dry-run the loop.
        scheduler: which pods to schedule, and how.
        interval: seconds from one cycle to the next.
        journal: the directory of the journal, for `neaptide explain --journal`.
        journal_listen: host:port to serve the journal at to who may get /journal, for `neaptide explain --controller`, as 127.0.0.1:9444.
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
        webhook: host:port to answer reviews of new pods at, as :9443.
        webhook_service: the Service through which the API server asks; its certificate is in the Secret of that name with -tls.
        webhook_configuration: the MutatingWebhookConfiguration that is to trust it.
        admission_policies: write MutatingAdmissionPolicies for what CEL can say of Policies for new pods.
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
    if journal_listen is not None and journal is None:
        raise UsageError("--journal-listen is about a journal: --journal DIRECTORY keeps one")
    if only == "scheduler" and dry_run:
        raise UsageError("--dry-run is about the loop: what is not bound cannot be scheduled around")
    scheduling = None if only == "loop" or dry_run else scheduler.scheduling()
    catalogue, _ = read_catalogue(prices)
    namespace = lease_namespace or cluster.namespace or "default"
    options = Options(
        namespace=namespace,
        identity=identity,
        interval=interval,
        journal=journal,
        journal_place=None if journal_listen is None else _journal_place(journal_listen, namespace),
        listen=None if listen is None else address("--listen", listen),
        prometheus=prometheus,
        catalogue=catalogue,
        settings=_chosen(policy, set_, enforce=enforce) if policy else None,
        lease_seconds=lease_seconds,
        dry_run=dry_run,
        webhook=None if webhook is None else _place(webhook, namespace, webhook_service, webhook_configuration),
        admission_policies=admission_policies,
        scheduling=scheduling,
    )
    process: Controller | SchedulerProcess = Controller(cluster, options)
    if only == "scheduler" and scheduling is not None:
        alone = Alone(namespace=namespace, identity=identity, lease_seconds=lease_seconds, listen=options.listen)
        process = SchedulerProcess(cluster, scheduling, alone)
    return serve(process)


def serve(process: Controller | SchedulerProcess) -> int:
    """Run until SIGTERM or SIGINT. Raises UsageError where a port or the journal cannot be had."""
    configure()
    try:
        uvloop.run(_until_signalled(process))
    except (OSError, LogInUseError) as error:
        raise UsageError(str(error)) from error
    return OK


def _chosen(policy: tuple[str, ...], assignments: tuple[str, ...], *, enforce: bool) -> tuple[Setting, ...]:
    mode = Mode.ENFORCE if enforce else Mode.RECOMMEND
    return tuple(replace(each, mode=mode) for each in settings(POLICIES, policy, assignments))


def _place(text: str, namespace: str, service: str, configuration: str) -> Place:
    host, port = address("--webhook", text)
    return Place(
        namespace=namespace, service=service, secret=f"{service}-tls", configuration=configuration, host=host, port=port
    )


def _journal_place(text: str, namespace: str) -> JournalPlace:
    host, port = address("--journal-listen", text)
    return JournalPlace(namespace=namespace, host=host, port=port)


def address(flag: str, text: str) -> tuple[str, int]:
    """Host and port of `host:port`, every address where no host is said. Raises UsageError."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise unacceptable(flag, text, "host:port, as :8080 or 127.0.0.1:8080")
    return match["host"].strip("[]") or "0.0.0.0", int(match["port"])  # noqa: S104 - kubelets and Prometheus come from outside the pod


async def _until_signalled(process: Controller | SchedulerProcess) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, process.stop)
    await process.run()
