"""`neaptide top`: a cluster, live in the terminal: nodes, use, money, and what is being done."""

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from neaptide.cli.amounts import readable
from neaptide.cli.connection import DEFAULT, Connection, speak
from neaptide.cli.costs import read_catalogue
from neaptide.cli.exits import OK, unacceptable
from neaptide.cli.output import Output, emit, print_whole
from neaptide.kube.overview import NodeRow, Overview, Share, overview
from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError
from neaptide.kubeapi.resources import EVENTS
from neaptide.model.accounts import Account
from neaptide.model.vocabulary import CPU, FIRST_RESOURCES, MEMORY
from neaptide.policies.cost_bound import bound_of
from neaptide.pricing.catalogue import Catalogue

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVENTS = 5
_CONTROLLER = "neaptide.io/controller"
_COLUMNS = ("node", "type", "", "$/h", "pods", "cpu req", "use", "mem req", "use", "lent", "state")


class Doing(Struct, frozen=True):
    """Something that the controller did."""

    time: str
    what: str
    on: str
    note: str


class View(Struct, frozen=True):
    """One look. Money is in US dollars per hour, None where unknown; `bound` is what no set of such nodes can go below."""

    cluster: Overview
    bound: float | None
    doing: list[Doing]
    notes: list[str]


def top(
    *,
    every: float = 2.0,
    once: bool = False,
    prices: str | None = None,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
    output: Output = "table",
) -> int:
    """Watch until interrupted; look once where the output is no terminal.

    Args:
        every: seconds between two looks.
        once: look once.
        prices: a price catalogue (YAML or CSV); by default the public list prices that come with the package.
        connection: which cluster.
        output: table for people; json or yaml for programs, which get one look.
    """
    if every <= 0:
        raise unacceptable("--every", every, "seconds above 0")
    catalogue, _ = read_catalogue(prices)
    namespace = connection.cluster().namespace
    if once or output != "table" or not sys.stdout.isatty():
        view = speak(connection, lambda client: _look_once(client, namespace, catalogue))
        _print(view, output)
        return OK
    with contextlib.suppress(KeyboardInterrupt):
        speak(connection, lambda client: _live(client, namespace, catalogue, every))
    return OK


async def _look_once(client: Client, namespace: str, catalogue: Catalogue) -> View:
    async with World(client, namespace=namespace, catalogue=catalogue) as world:
        await world.ready()
        return await _view(client, world)


async def _live(client: Client, namespace: str, catalogue: Catalogue, every: float) -> None:
    from rich.live import Live

    async with World(client, namespace=namespace, catalogue=catalogue) as world:
        with Live(screen=True, auto_refresh=False) as live:
            live.update("looking at the cluster …", refresh=True)
            await world.ready()
            while True:
                view = await _view(client, world)
                live.update(_screen(view, live.console.height), refresh=True)
                world.check()
                await asyncio.sleep(every)


async def _view(client: Client, world: World) -> View:
    doing = await _doing(client)
    with world.cache.held():
        snapshot = world.observe()
        bound = await asyncio.to_thread(bound_of, snapshot)
        seen = overview(snapshot)
    notes = [*world.cache.unseen, *([f"use is not known: {world.meter.problem}"] if world.meter.problem else [])]
    return View(seen, bound, doing, notes)


class _Regarding(Struct):
    kind: str = ""
    namespace: str = ""
    name: str = ""


class _Event(Struct, rename="camel"):
    event_time: str | None = None
    reason: str = ""
    note: str = ""
    regarding: _Regarding = msgspec.field(default_factory=_Regarding)


class _Events(Struct):
    items: list[_Event] = []


async def _doing(client: Client) -> list[Doing]:
    """The latest Events of the controller."""
    try:
        pages = [page async for page in client.list(EVENTS, field_selector=f"reportingController={_CONTROLLER}")]
    except ApiError:
        return []
    found = [event for page in pages for event in msgspec.json.decode(page, type=_Events).items]
    found.sort(key=lambda each: each.event_time or "", reverse=True)
    return [
        Doing((each.event_time or "")[11:19], each.reason, _named(each.regarding), each.note)
        for each in found[:_EVENTS]
    ]


def _named(on: _Regarding) -> str:
    return f"{on.kind} {on.namespace}/{on.name}" if on.namespace else f"{on.kind} {on.name}"


def _print(view: View, output: Output) -> None:
    if output != "table":
        emit(view, output)
        return
    from rich.console import Console

    print_whole(Console(highlight=False), _screen(view, len(view.cluster.nodes) + 100))


def _screen(view: View, height: int) -> "RenderableType":
    """Everything that fits into so many lines."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    cluster = view.cluster
    cpu, memory = (
        f"{_percent(each.requested)} requested, {_percent(each.used)} used" for each in (cluster.cpu, cluster.memory)
    )
    head = [
        f"{len(cluster.nodes)} nodes ({cluster.ready} ready), {cluster.running} pods on nodes, {cluster.pending} pending",
        f"{_money(cluster.money_per_hour)} $/h now, at best {_money(view.bound)}; cpu {cpu}; memory {memory}",
        f"cpu {_account(CPU, cluster.cpu_account)}; memory {_account(MEMORY, cluster.memory_account)}",
    ]
    nodes = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in _COLUMNS:
        nodes.add_column(name, justify="right" if name in ("$/h", "pods", "cpu req", "use", "mem req") else "left")
    room = max(height - len(head) - 6 - len(view.doing) - len(view.notes), 1)
    for row in cluster.nodes[:room]:
        nodes.add_row(*_cells(row))
    left = len(cluster.nodes) - room
    doing = [f"{each.time} {each.what} {each.on}: {each.note}" for each in view.doing]
    more = [f"… and {left} nodes more"] if left > 0 else []

    def lines(texts: list[str]) -> list[Text]:
        return [Text(each, no_wrap=True, overflow="ellipsis") for each in texts]

    return Group(*lines(head), nodes, *lines([*more, *doing, *view.notes]))


def _cells(row: NodeRow) -> tuple[str, ...]:
    return (
        row.name,
        row.instance_type,
        row.capacity_type,
        _money(row.price_per_hour),
        str(row.pods),
        *_both(row.cpu),
        *_both(row.memory),
        " ".join(f"{tier} {part:.0%}" for tier, part in row.lent.items()) or "-",
        row.state,
    )


def _account(resource: int, account: Account) -> str:
    """What is free, and tier by tier what is lent of what is offered; the one is no part of the other."""
    name = FIRST_RESOURCES[resource]
    tiers = [
        f"{tier} {readable(name, each.requested)} of {readable(name, each.offered)}"
        for tier, each in account.tiers.items()
    ]
    return ", ".join([f"{readable(name, account.free)} free", *tiers])


def _both(share: Share) -> tuple[str, str]:
    return _percent(share.requested), _percent(share.used)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"


def _money(dollars: float | None) -> str:
    return "-" if dollars is None else f"{dollars:.2f}" if dollars >= 1 else f"{dollars:.4f}"
