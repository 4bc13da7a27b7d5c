"""A watch for who keeps objects by name: what is there, what has gone, and who was not named again when all was told anew."""

from collections.abc import Callable, Hashable
from contextlib import aclosing
from typing import TypeVar

from msgspec import Raw

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import Resource
from neaptide.kubeapi.watch import Changed, Listed, Relisted, Removed, Synced, changes

Name = TypeVar("Name", bound=Hashable)


async def follow(
    client: Client,
    resource: Resource,
    *,
    sees: Callable[[Raw], Name],
    gone: Callable[[Raw], object],
    only: Callable[[set[Name]], object],
    label_selector: str = "",
    field_selector: str = "",
) -> None:
    """Follow the objects of a kind until cancelled.

    Args:
        client: the wire.
        resource: the kind.
        sees: takes an object that is new or changed, and says its name.
        gone: takes an object that was there, as it was last.
        only: takes the names of all that are there; called first when all were read once, and again after each later list.
        label_selector: which objects.
        field_selector: which of these.
    """
    named: set[Name] = set()
    listing = False
    stream = changes(client, resource, label_selector=label_selector, field_selector=field_selector)
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, Relisted):
                named, listing = set(), True
            elif isinstance(event, Listed):
                named |= {sees(item) for item in items_of(event.raw)}
            elif isinstance(event, Changed):
                name = sees(event.raw)
                if listing:
                    named.add(name)
            elif isinstance(event, Removed):
                gone(event.raw)
            elif isinstance(event, Synced) and listing:
                listing = False
                only(named)
