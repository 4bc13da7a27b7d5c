"""What a cluster's own objects ask for: Policies as settings and limits, PriceCatalogues as prices."""

import time
from typing import NamedTuple

from neaptide.cli.connection import Connection, speak
from neaptide.kube.configuration import Chosen, catalogue_of, choose
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import served
from neaptide.kubeapi.errors import Forbidden
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import POLICIES, PRICE_CATALOGUES, Resource
from neaptide.pricing.catalogue import Catalogue


class Intent(NamedTuple):
    """What the controller would work with.

    Attributes:
        chosen: the Policies; None where there are none, or they cannot be seen.
        catalogue: the prices; None likewise.
        notes: sentences on what could not be used.
    """

    chosen: Chosen | None
    catalogue: Catalogue | None
    notes: list[str]


def read_intent(connection: Connection) -> Intent:
    """The Policies and prices of a cluster. Raises UsageError."""
    return speak(connection, _read)


async def _read(client: Client) -> Intent:
    there = await served(client)
    raws: dict[Resource, list[bytes]] = {}
    notes = []
    for kind in (POLICIES, PRICE_CATALOGUES):
        try:
            pages = [page async for page in client.list(kind)] if kind in there else []
        except Forbidden:
            pages = []
            notes.append(f"could not see {kind.plural}: list is not allowed")
        raws[kind] = [bytes(raw) for page in pages for raw in items_of(page)]
    catalogue, problems = catalogue_of(raws[PRICE_CATALOGUES])
    chosen = choose(raws[POLICIES], time.time()) if raws[POLICIES] else None
    refused = [each for each in chosen.verdicts.values() if not each.ready] if chosen else []
    notes += problems + [f"Policy {each.meta.name}: {each.message}" for each in refused]
    return Intent(chosen, catalogue, notes)
