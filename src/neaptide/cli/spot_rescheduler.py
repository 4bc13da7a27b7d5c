"""`neaptide spot-rescheduler`: the controller with that one policy, behind the command line of the k8s-spot-rescheduler."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter, Token
from msgspec.structs import replace

from neaptide.cli.connection import Connection
from neaptide.cli.costs import read_catalogue
from neaptide.cli.exits import UsageError, unacceptable
from neaptide.cli.listening import address
from neaptide.cli.output import Output
from neaptide.cli.plan import plan
from neaptide.cli.run import serve
from neaptide.cli.settings import settings
from neaptide.kube.controller import Controller, Options
from neaptide.kubeapi.config import Cluster, load
from neaptide.kubeapi.errors import ConfigError
from neaptide.loop import Mode
from neaptide.model.times import go_duration
from neaptide.policies.arbiter import Budgets
from neaptide.policies.registry import POLICIES
from neaptide.policies.spot_rescheduler_spec import CLASSIC_LABELS, NAME, label_problem

_PROTOBUF = "application/vnd.kubernetes.protobuf"
_MANY = 10**6
_AS_EVER = Budgets(
    evictions_per_cycle=_MANY,
    evictions_per_node=_MANY,
    evictions_per_workload_percent=100,
    evictions_per_workload_per_hour=_MANY,
    minimum_stay_seconds=0.0,
)
"""The k8s-spot-rescheduler knows no limit but PodDisruptionBudgets."""


def _seconds(kind: type, tokens: Sequence[Token]) -> float:  # noqa: ARG001 - cyclopts calls it so
    """A Go duration."""
    found = go_duration(tokens[0].value)
    if found is None or found < 0:
        raise unacceptable(tokens[0].keyword or "", tokens[0].value, "a duration as 10s, 2m or 1h30m")
    return found


_Duration = Annotated[float, Parameter(converter=_seconds)]


@dataclass(frozen=True)
class Glog:
    """Flags of the old log, which is another one now: they are accepted, and said to do nothing."""

    logtostderr: bool | None = None
    """logs go to standard error in any case."""
    alsologtostderr: bool | None = None
    """as logtostderr."""
    stderrthreshold: str | None = None
    """has no meaning."""
    v: Annotated[str | None, Parameter(name=("--v", "-v"))] = None
    """has no meaning."""
    vmodule: str | None = None
    """has no meaning."""
    log_dir: Annotated[str | None, Parameter(name=("--log-dir", "--log_dir"))] = None
    """has no meaning."""
    log_backtrace_at: Annotated[str | None, Parameter(name=("--log-backtrace-at", "--log_backtrace_at"))] = None
    """has no meaning."""

    def say_ignored(self) -> None:
        """Say of each that was given that it does nothing."""
        for each in fields(self):
            if getattr(self, each.name) is not None:
                _say_ignored(f"--{each.name}", getattr(self, each.name))


@dataclass(frozen=True)
class PaceFlags:
    """How long everything takes."""

    housekeeping_interval: _Duration = 10.0
    """from one pass to the next."""
    node_drain_delay: _Duration = 600.0
    """the pause after a drain, however it ended."""
    pod_eviction_timeout: _Duration = 120.0
    """for how long evictions are tried again."""
    max_graceful_termination: _Duration = 120.0
    """the grace period of each eviction."""

    def fields(self) -> dict[str, object]:
        """Of the policy. Raises UsageError."""
        if self.housekeeping_interval == 0:
            raise unacceptable("--housekeeping-interval", "0s", "a duration above 0")
        return {
            "nodeDrainDelaySeconds": self.node_drain_delay,
            "podEvictionTimeoutSeconds": self.pod_eviction_timeout,
            "maxGracefulTerminationSeconds": self.max_graceful_termination,
        }


@dataclass(frozen=True)
class ChoiceFlags:
    """Which nodes are drained, and of which pods."""

    on_demand_node_label: str = CLASSIC_LABELS["on demand"]
    """key or key=value of the nodes to drain."""
    spot_node_label: str = CLASSIC_LABELS["spot"]
    """key or key=value of the nodes that pods move to."""
    delete_non_replicated_pods: bool = False
    """evict pods, too, that no controller would start again."""

    def fields(self) -> dict[str, object]:
        """Of the policy. Raises UsageError."""
        for kind, label in (("on demand", self.on_demand_node_label), ("spot", self.spot_node_label)):
            problem = label_problem(kind, label)
            if problem is not None:
                raise UsageError(problem)
        return {
            "onDemandNodeLabel": self.on_demand_node_label,
            "spotNodeLabel": self.spot_node_label,
            "deleteNonReplicatedPods": self.delete_non_replicated_pods,
        }


_PACE, _CHOICE = PaceFlags(), ChoiceFlags()
_SILENT = Glog()


def spot_rescheduler(
    dump: str | None = None,
    /,
    *,
    running_in_cluster: bool = True,
    namespace: str = "kube-system",
    kube_api_content_type: str = _PROTOBUF,
    pace: Annotated[PaceFlags, Parameter(name="*")] = _PACE,
    listen_address: str = "localhost:9235",
    choice: Annotated[ChoiceFlags, Parameter(name="*")] = _CHOICE,
    glog: Annotated[Glog, Parameter(name="*")] = _SILENT,
    kubeconfig: Path | None = None,
    context: str | None = None,
    dry_run: bool = False,
    prices: str | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    output: Output = "table",
) -> int:
    """Run until SIGTERM or SIGINT. With --dry-run, or with a dump, print what would be done, and end.

    Args:
        dump: a file or a directory of cluster objects, as for `neaptide plan`; nothing is done.
        running_in_cluster: false: connect as kubectl does, also in a pod.
        namespace: where the lease and the checkpoint are.
        kube_api_content_type: has no meaning: JSON is spoken.
        pace: how long everything takes.
        listen_address: host:port of /metrics, /healthz and /readyz.
        choice: which nodes are drained, and of which pods.
        glog: flags of the old log.
        kubeconfig: by default as kubectl finds it; in a pod, its service account.
        context: of the kubeconfig; by default the current one.
        dry_run: print the plan for the cluster as it is, and do nothing.
        prices: a price catalogue (YAML or CSV), to show money.
        set_: spot-rescheduler.field=value sets a further field of the policy, such as spot-rescheduler.profile=default.
        output: of a plan: table for people; json or yaml for programs.
    """
    given = {"profile": "classic"} | choice.fields() | pace.fields()
    if kube_api_content_type != _PROTOBUF:
        _say_ignored("--kube-api-content-type", kube_api_content_type)
    glog.say_ignored()
    assignments = (*(f"{NAME}.{field}={_json(value)}" for field, value in given.items()), *set_)
    if dry_run or dump is not None:
        connection = Connection(kubeconfig, context)
        return plan(dump, policy=(NAME,), set_=assignments, prices=prices, connection=connection, output=output)
    (setting,) = settings(POLICIES, (NAME,), assignments)
    options = Options(
        namespace=namespace,
        interval=pace.housekeeping_interval,
        listen=address("--listen-address", listen_address),
        catalogue=read_catalogue(prices)[0],
        settings=(replace(setting, mode=Mode.ENFORCE),),
        budgets=_AS_EVER if setting.spec.profile == "classic" else None,
    )
    return serve(Controller(_cluster(kubeconfig, context, in_cluster=running_in_cluster), options))


def _cluster(kubeconfig: Path | None, context: str | None, *, in_cluster: bool) -> Cluster:
    if in_cluster:
        return Connection(kubeconfig, context).cluster()
    try:
        return load(kubeconfig, context)
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _say_ignored(flag: str, value: object) -> None:
    print(f"neaptide: {flag}={value} is accepted, and does nothing here", file=sys.stderr)
