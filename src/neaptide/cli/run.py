"""`neaptide run`: the controller."""

import asyncio
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import uvloop
from cyclopts import Parameter
from msgspec.structs import replace

from neaptide.cli.connection import DEFAULT, Connection
from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.cli.listening import DEFAULT_JOURNAL, DEFAULT_WEBHOOK, JournalFlags, WebhookFlags, address
from neaptide.cli.providing import DEFAULT_NOTICES, DEFAULT_PROVIDER, NoticeFlags, ProviderFlags
from neaptide.cli.scheduling import DEFAULT_SCHEDULER, SchedulerFlags
from neaptide.cli.settings import settings
from neaptide.kube.logs import configure
from neaptide.kubeapi.resources import Resource
from neaptide.model.manifests import KINDS
from neaptide.records.log import LogInUseError

if TYPE_CHECKING:
    from neaptide.kube.scheduler.opening import Scheduling
    from neaptide.kubeapi.config import Cluster
    from neaptide.loop import Setting
    from neaptide.pricing.catalogue import Catalogue


class Process(Protocol):
    """What runs until it is stopped."""

    def stop(self) -> None: ...
    async def run(self) -> None: ...


@dataclass(frozen=True)
class LeaseFlags:
    """Which replica is the one that acts."""

    lease_namespace: str | None = None
    """where the lease and the checkpoint are; by default the namespace of the connection."""
    lease_seconds: int = 15
    """how long the lease of a replica that died holds."""
    identity: str = ""
    """the name of this replica; by default host and process."""


@dataclass(frozen=True)
class PolicyFlags:
    """Policies named here, in place of Policy objects."""

    policy: tuple[str, ...] = ()
    """run this policy in place of what Policy objects say; may be repeated."""
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = ()
    """policy.field=value sets a field of such a policy; may be repeated."""
    enforce: bool = False
    """have these policies carried out, and not only shown."""

    def settings(self) -> "tuple[Setting, ...] | None":
        """What they say; None where Policy objects decide. Raises UsageError."""
        if not self.policy:
            return None
        from neaptide.loop import Mode
        from neaptide.policies.registry import POLICIES

        mode = Mode.ENFORCE if self.enforce else Mode.RECOMMEND
        return tuple(replace(each, mode=mode) for each in settings(POLICIES, self.policy, self.set_))


@dataclass(frozen=True)
class LoopFlags:
    """How the loop of policies goes."""

    interval: float = 60.0
    """seconds from one cycle to the next."""
    prices: str | None = None
    """a price catalogue, until there are PriceCatalogue objects; by default the package's public list prices."""
    prometheus: str = ""
    """the URL of a Prometheus to ask for usage where the cluster serves none."""
    dry_run: bool = False
    """ask the API server for everything, and have it change nothing."""
    admission_policies: bool = False
    """write MutatingAdmissionPolicies for what CEL can say of Policies for new pods."""
    workload: tuple[str, ...] = ()
    """custom resources with a scale subresource, which policies may scale, as trainjobs.v1.example.com=TrainJob; may be repeated."""

    def catalogue(self) -> "Catalogue":
        """The prices. Raises UsageError."""
        from neaptide.cli.costs import read_catalogue

        return read_catalogue(self.prices)[0]

    def workloads(self) -> tuple[Resource, ...]:
        """What --workload names. Raises UsageError."""
        return tuple(map(_workload, self.workload))


_WORKLOAD = re.compile(
    r"(?P<plural>[a-z][a-z0-9-]*)\.(?P<version>v[0-9][a-z0-9]*)\.(?P<group>[a-z0-9.-]+)=(?P<kind>[A-Z][A-Za-z0-9]*)"
)
_DEFAULT_LEASE, _DEFAULT_LOOP, _DEFAULT_POLICIES = LeaseFlags(), LoopFlags(), PolicyFlags()


def run(
    *,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
    only: Literal["loop", "scheduler"] | None = None,
    scheduler: Annotated[SchedulerFlags, Parameter(name="*")] = DEFAULT_SCHEDULER,
    loop: Annotated[LoopFlags, Parameter(name="*")] = _DEFAULT_LOOP,
    journal: Annotated[JournalFlags, Parameter(name="*")] = DEFAULT_JOURNAL,
    listen: str | None = None,
    lease: Annotated[LeaseFlags, Parameter(name="*")] = _DEFAULT_LEASE,
    provider: Annotated[ProviderFlags, Parameter(name="*")] = DEFAULT_PROVIDER,
    notices: Annotated[NoticeFlags, Parameter(name="*")] = DEFAULT_NOTICES,
    policies: Annotated[PolicyFlags, Parameter(name="*")] = _DEFAULT_POLICIES,
    webhook: Annotated[WebhookFlags, Parameter(name="*")] = DEFAULT_WEBHOOK,
) -> int:
    """Run until SIGTERM or SIGINT; then what is under way is finished, and the lease given up.

    Args:
        connection: which cluster, and as whom.
        only: do only this part of the work: the loop of policies, or the scheduler; by default both, with --dry-run the loop.
        scheduler: which pods to schedule, and how.
        loop: how the loop of policies goes.
        journal: where the journal is, and where it can be read.
        listen: host:port of /healthz, /readyz and /metrics, as :8080.
        lease: which replica is the one that acts.
        provider: who sells nodes; without one, none are bought or given back.
        notices: where others say that a node ends.
        policies: named here, in place of Policy objects.
        webhook: where new pods are reviewed, and who is to ask there.
    """
    cluster = connection.cluster()
    _check(loop, lease, policies, journal, only_scheduler=only == "scheduler")
    scheduling = None if only == "loop" or loop.dry_run else scheduler.scheduling()
    namespace = lease.lease_namespace or cluster.namespace or "default"
    listens = None if listen is None else address("--listen", listen)
    if scheduling is not None and only == "scheduler":
        return serve(_scheduler_alone(cluster, scheduling, namespace, lease, listens))
    from neaptide.kube.controller import Controller, Options  # a scheduler alone needs none of this

    catalogue = loop.catalogue()
    options = Options(
        namespace=namespace,
        identity=lease.identity,
        interval=loop.interval,
        journal=journal.journal,
        journal_place=journal.place(namespace),
        listen=listens,
        prometheus=loop.prometheus,
        catalogue=catalogue,
        settings=policies.settings(),
        lease_seconds=lease.lease_seconds,
        dry_run=loop.dry_run,
        webhook=webhook.place(namespace),
        admission_policies=loop.admission_policies,
        workloads=loop.workloads(),
        scheduling=scheduling,
        providing=provider.providing(catalogue),
        notices_file=notices.notices,
        notices_listen=notices.endpoint(),
        qps=100.0 if not provider.provider else 300.0,  # nodes come by the hundred, and pods by the thousand
    )
    return serve(Controller(cluster, options))


def _scheduler_alone(
    cluster: "Cluster", scheduling: "Scheduling", namespace: str, lease: LeaseFlags, listen: tuple[str, int] | None
) -> Process:
    from neaptide.kube.scheduler.alone import Alone, SchedulerProcess

    alone = Alone(namespace=namespace, identity=lease.identity, lease_seconds=lease.lease_seconds, listen=listen)
    return SchedulerProcess(cluster, scheduling, alone)


def _workload(text: str) -> Resource:
    match = _WORKLOAD.fullmatch(text)
    if match is None or match["kind"] in KINDS:
        raise unacceptable(
            "--workload", text, "PLURAL.VERSION.GROUP=KIND of a custom resource with a scale subresource"
        )
    return Resource(match["group"], match["version"], match["plural"], match["kind"], namespaced=True)


def _check(
    loop: LoopFlags,
    lease: LeaseFlags,
    policies: PolicyFlags,
    journal: JournalFlags,
    *,
    only_scheduler: bool,
) -> None:
    """Raises UsageError where flags make no sense, by themselves or together."""
    if loop.interval <= 0:
        raise unacceptable("--interval", loop.interval, "seconds above 0")
    if lease.lease_seconds < 2:
        raise unacceptable("--lease-seconds", lease.lease_seconds, "seconds from 2 on")
    if (policies.enforce or policies.set_) and not policies.policy:
        raise UsageError(
            "--enforce and --set are about the policies that --policy names; Policy objects have their own"
        )
    if journal.journal_listen is not None and journal.journal is None:
        raise UsageError("--journal-listen is about a journal: --journal DIRECTORY keeps one")
    if only_scheduler and loop.dry_run:
        raise UsageError("--dry-run is about the loop: what is not bound cannot be scheduled around")


def serve(process: Process) -> int:
    """Run until SIGTERM or SIGINT. Raises UsageError where a port or the journal cannot be had."""
    configure()
    try:
        uvloop.run(_until_signalled(process))
    except (OSError, LogInUseError) as error:
        raise UsageError(str(error)) from error
    return OK


async def _until_signalled(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, process.stop)
    await process.run()
