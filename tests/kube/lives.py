"""A controller that wants some actions done and can be killed: a process of its own, forked from one that has imported everything."""

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from msgspec import Struct

from neaptide.kube import recovery
from neaptide.kube.controller import Controller, Options
from neaptide.kube.logs import quiet
from neaptide.kubeapi.config import load
from neaptide.loop import Mode, Setting
from neaptide.model.actions import (
    AnyAction,
    Cordon,
    Evict,
    Plan,
    Resume,
    SetNodeResources,
    Suspend,
    Taint,
    Uncordon,
    Untaint,
)
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot

NAME = "wanting"
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload([__name__])


class Wants(Struct, frozen=True):
    """What is to be done, each once."""

    actions: tuple[AnyAction, ...] = ()


class Nothing(Struct):
    """What this policy remembers."""


class Wanting:
    """A policy that wants what is not so yet, as the snapshot shows it."""

    name = NAME
    spec_type = Wants
    memory_type = Nothing

    def plan(
        self, snapshot: ClusterSnapshot, spec: Wants, memory: Nothing, now: float, covers: Covers = everything
    ) -> tuple[Plan, Nothing]:
        del now
        wanted = (each for each in spec.actions if covers(each.target) and not _is_so(each, snapshot))
        return Plan(NAME, tuple(wanted)), memory


def begin(
    kubeconfig: Path, namespace: str, journal: Path, actions: Sequence[AnyAction], identity: str = "one"
) -> BaseProcess:
    """Start a controller; `kill` ends it by SIGKILL."""
    wanted = recovery.encode(0.0, actions)
    process = _FORKING.Process(target=_live, args=(kubeconfig, namespace, journal, wanted, identity))
    process.start()
    return process


def _live(kubeconfig: Path, namespace: str, journal: Path, actions: bytes, identity: str) -> None:
    quiet()
    settings = Setting(Wanting(), Wants(recovery.decode(actions).actions), Mode.ENFORCE)
    options = Options(
        namespace=namespace, identity=identity, interval=0.5, journal=journal, settings=(settings,), lease_seconds=6
    )
    asyncio.run(Controller(load(kubeconfig), options).run())


def _is_so(action: AnyAction, snapshot: ClusterSnapshot) -> bool:
    if isinstance(action, Evict | Suspend | Resume):
        return recovery.was_done(action, snapshot)
    node = snapshot.nodes.by_name[action.target.name]
    shows: dict[type, Callable[..., bool]] = {
        Taint: lambda each: each.key in _taints(snapshot, node),
        Untaint: lambda each: each.key not in _taints(snapshot, node),
        Cordon: lambda _: bool(snapshot.nodes.unschedulable[node]),
        Uncordon: lambda _: not snapshot.nodes.unschedulable[node],
        SetNodeResources: lambda each: all(
            _amount(snapshot, node, name) == (amount or 0) for name, amount in each.resources.items()
        ),
    }
    return shows[type(action)](action)


def _taints(snapshot: ClusterSnapshot, node: int) -> set[str]:
    return {each.key for each in snapshot.node_taints(node)}


def _amount(snapshot: ClusterSnapshot, node: int, name: str) -> int:
    row = snapshot.resource_row(name)
    return 0 if row is None else int(snapshot.nodes.allocatable[row, node])
