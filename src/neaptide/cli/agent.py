"""`neaptide agent`: one node's agent. It imports neither numpy nor the engine, so that it stays small."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import yaml

from neaptide.agent import layout
from neaptide.agent.agent import Agent, Place, boot_id
from neaptide.agent.evictions import Evictions
from neaptide.agent.files import hold_many
from neaptide.agent.interference import Interference
from neaptide.agent.latencies import Latencies
from neaptide.agent.layout import LayoutError
from neaptide.agent.node_metric import NodeReport, Reporting
from neaptide.agent.own_node import OwnNode
from neaptide.agent.pods import NodePods
from neaptide.agent.real_time import RealTime
from neaptide.agent.settings import Settings, SettingsError, settings
from neaptide.agent.topology_report import report_topology
from neaptide.agent.twins import Twins
from neaptide.agent.watchdog import SILENT_FOR, Heartbeat, restore_services, watched
from neaptide.cli.exits import OK, PARTIAL, USAGE, UsageError, unacceptable
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster, find, load
from neaptide.kubeapi.errors import ConfigError
from neaptide.records.log import LogInUseError

_DEFAULT = Place()
_ENDING = 10.0
_AGAIN = 60.0
"""Seconds."""


def agent(
    *,
    node: str = "",
    rules: Path | None = None,
    kubeconfig: Path | None = None,
    context: str | None = None,
    cgroups: str = _DEFAULT.cgroups,
    cgroup_root: str = _DEFAULT.cgroup_root,
    kubelet_root: str = _DEFAULT.kubelet_root,
    proc: str = _DEFAULT.proc,
    sysfs: str = _DEFAULT.sysfs,
    state: Path = _DEFAULT.state,
    interval: float = 1.0,
    report_interval: float = 60.0,
    prometheus: str = "",
    dry_run: bool = False,
    restore: bool = False,
) -> int:
    """Keep a node until SIGTERM or SIGINT; then every file says again what it said before.

    Args:
        node: whose pods to ask the API server for.
        rules: a YAML file with settings of the rules; by default, CPU suppression by CPU set, and group priority.
        kubeconfig: by default as kubectl finds it; in a pod, its service account.
        context: of the kubeconfig; by default the current one.
        cgroups: the mount of the control groups.
        cgroup_root: the kubelet's cgroupRoot.
        kubelet_root: the kubelet's --root-dir.
        proc: the mount of proc.
        sysfs: the mount of sysfs.
        state: where the originals are kept.
        interval: seconds from one round to the next.
        report_interval: seconds from one NodeMetric, which tells the controller what pods use, to the next; 0 writes none.
        prometheus: the URL of a Prometheus for services whose annotation neaptide.io/slo names a query.
        dry_run: write and evict nothing, and say what would be.
        restore: undo what an agent that was killed has left, and end.
    """
    _check_intervals(interval, report_interval)
    if not node and not restore:
        raise UsageError("--node: the name of this node is needed, so that its pods can be asked for")
    chosen = _settings(rules)
    place = Place(cgroups, cgroup_root, proc, sysfs, kubelet_root, state)
    try:
        if restore:
            return _restore(place)
        cluster = find() if kubeconfig is None and context is None else load(kubeconfig, context)
        version = layout.find(place.cgroups, place.cgroup_root).version
        hold_many()
        pace = _Pace(interval, 0.0 if dry_run else report_interval, prometheus)
        if dry_run:
            asyncio.run(_keep(place, chosen, cluster, node, pace))
            return OK
        return watched(
            lambda heartbeat: _kept(place, chosen, cluster, node, pace, heartbeat),
            lambda paths: _give_back(place, version, paths),
            _say,
            silent_for=SILENT_FOR + interval,
        )
    except (ConfigError, LayoutError, LogInUseError, OSError) as error:
        raise UsageError(str(error)) from error


def _check_intervals(interval: float, report_interval: float) -> None:
    if interval <= 0:
        raise unacceptable("--interval", interval, "seconds above 0")
    if report_interval < 0:
        raise unacceptable("--report-interval", report_interval, "seconds, or 0 for none")


def _kept(place: Place, chosen: Settings, cluster: Cluster, node: str, pace: "_Pace", heartbeat: Heartbeat) -> int:
    """What the watched process does; its exit code."""
    try:
        asyncio.run(_keep(place, chosen, cluster, node, pace, heartbeat))
    except (ConfigError, LayoutError, LogInUseError) as error:
        _say(f"neaptide: {error}")
        return USAGE
    return OK


def _give_back(place: Place, version: int, paths: Collection[str]) -> None:
    try:
        for path in restore_services(place.state, boot_id(place.proc), version, paths):
            _say(f"{path} could not be given back what it said")
    except (LogInUseError, OSError) as error:
        _say(f"nothing was given back: {error}")


class _Pace(NamedTuple):
    """Seconds from round to round, and from report to report (0 for none); the Prometheus that is asked for latencies, if any."""

    interval: float
    report: float
    prometheus: str


async def _keep(
    place: Place, chosen: Settings, cluster: Cluster, node: str, pace: _Pace, heartbeat: Heartbeat | None = None
) -> None:
    """Without a heartbeat it is a dry run."""
    pods, dry_run = NodePods(), heartbeat is None
    async with Client(cluster) as client:
        evictions = Evictions(None if dry_run else client, _say, time.monotonic)
        telling: list[asyncio.Future[None]] = []
        keeper = Agent(place, chosen, pods, evictions, _say, dry_run=dry_run)
        try:
            for feature in keeper.features():
                _say(str(feature))
            if not dry_run:
                telling.append(asyncio.ensure_future(report_topology(client, node, keeper.cpus(), _say)))
            tellers: list[Callable[[str], Mapping[str, Any]]] = []
            own = OwnNode(_say)
            keeper.facts = lambda: own.facts
            asking: dict[str, Callable[[], Awaitable[object]]] = {
                "to follow its node": lambda: own.follow(client, node)
            }
            news: Callable[[], int] = int
            if chosen.interference is not None:
                watch = Interference(chosen.interference, evictions, _say, place.proc, place.sysfs)
                keeper.adders.append(watch.wanted)
                twins = Twins(node, pods, watch.suffering, _say)
                watch.twins, news = twins.now, lambda: watch.news
                tellers.append(watch.extension)
                asking["to ask for services' twins"] = lambda: twins.run(client)
            if chosen.slo_share is not None or chosen.interference is not None:
                latencies = Latencies(pods, _say, pace.prometheus)
                keeper.latencies = latencies.now
                tellers.append(latencies.extension)
                asking["to ask for services' latencies"] = latencies.run
            report = _report(node, pace, place, tellers, news, own) if pace.report else None
            went_round = _went_round(keeper, heartbeat)
            await _until_signalled(pods, client, node, keeper, pace, report, asking, went_round)
            # Not where it failed: offline work stays held back then, and the watchdog gives services what is theirs.
            if not dry_run:
                keeper.restore()
        finally:
            for task in telling:
                task.cancel()
            await asyncio.gather(*telling, return_exceptions=True)
            await evictions.close()
            keeper.close()


def _went_round(keeper: Agent, heartbeat: Heartbeat | None) -> Callable[[], None]:
    """What is done after each round; nothing where nobody watches."""
    return (lambda: None) if heartbeat is None else (lambda: heartbeat(keeper.of_services))


def _report(
    node: str,
    pace: _Pace,
    place: Place,
    tellers: Collection[Callable[[str], Mapping[str, Any]]],
    news: Callable[[], int],
    own: OwnNode,
) -> NodeReport:
    """The NodeMetric's writer."""
    machine = RealTime(place.proc, place.sysfs)
    return NodeReport(
        node,
        Reporting(pace.report, max(300.0, pace.report)),
        _say,
        extensions=lambda uid: _together(tellers, uid),
        real_time=lambda: machine.look(time.monotonic()),
        news=news,
        facts=lambda: own.facts,
    )


async def _until_signalled(
    pods: NodePods,
    client: Client,
    node: str,
    keeper: Agent,
    pace: _Pace,
    report: NodeReport | None,
    asking: dict[str, Callable[[], Awaitable[object]]],
    went_round: Callable[[], None],
) -> None:
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    if report is not None:
        keeper.watchers.append(report.see)
        asking["to report"] = lambda: report.run(client)
    running: list[Coroutine[Any, Any, object]] = [
        signalled.wait(),
        pods.follow(client, node, _say),
        keeper.run(pace.interval, went_round),
        *(_kept_up(what, run) for what, run in asking.items()),
    ]
    tasks = [asyncio.ensure_future(each) for each in running]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept_up(what: str, run: Callable[[], Awaitable[object]]) -> None:
    """Run it again where it fails: a node is kept whether or not somebody can be told or asked."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the rounds go on
            _say(f"it failed {what}, which is tried again in {_AGAIN:g} s: {error!r}")
        await asyncio.sleep(_AGAIN)


def _together(tellers: Collection[Callable[[str], Mapping[str, Any]]], uid: str) -> Mapping[str, Any]:
    """What several have to say of a pod."""
    return {name: said for teller in tellers for name, said in teller(uid).items()}


def _restore(place: Place) -> int:
    """An agent that is about to end is waited for."""
    end = time.monotonic() + _ENDING
    while True:
        try:
            keeper = Agent(place, Settings(), NodePods(), Evictions(None, _say, time.monotonic), _say)
            break
        except LogInUseError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    try:
        return PARTIAL if keeper.restore() else OK
    finally:
        keeper.close()


def _settings(file: Path | None) -> Settings:
    if file is None:
        return Settings()
    try:
        return settings(yaml.decode(file.read_bytes()))
    except (OSError, msgspec.DecodeError, SettingsError) as error:
        raise UsageError(f"--rules {file}: {error}") from error


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
