"""A cluster as it is, or as it was written down, and what the policies want of it: what `plan` and `explain` show and `apply` has carried out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from neaptide.cli.connection import Connection, read_cluster
from neaptide.cli.costs import offerings_of, read_catalogue, set_prices
from neaptide.cli.dump import Dump, read_dump
from neaptide.cli.exits import unacceptable
from neaptide.cli.intent import read_intent
from neaptide.cli.preview import preview
from neaptide.cli.settings import settings
from neaptide.loop import DEFAULT_BUDGETS, Cycle, Setting
from neaptide.model.actions import AnyAction
from neaptide.policies.registry import POLICIES
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.cluster import money_per_hour


class LivePlan(NamedTuple):
    """What was found and what is wanted.

    Attributes:
        cluster: as it is.
        cycle: the plans, and what the arbiter says to them.
        notes: sentences on what could not be seen or used.
        settings: of the policies that were asked.
    """

    cluster: Dump
    cycle: Cycle
    notes: list[str]
    settings: Sequence[Setting]

    @property
    def granted(self) -> list[AnyAction]:
        """What may be done now."""
        return [each.action for each in self.cycle.outcomes if each.result == "Recommended"]

    @property
    def money(self) -> float | None:
        """US dollars per hour now."""
        return money_per_hour(self.cluster.snapshot)


def live_plan(
    connection: Connection, policy: tuple[str, ...], assignments: tuple[str, ...], prices: str | None
) -> LivePlan:
    """Plan with the policies named, else with the cluster's own Policies, else with all. Raises UsageError."""
    chosen, budgets = settings(POLICIES, policy, assignments), DEFAULT_BUDGETS
    catalogue, unpriced = read_catalogue(prices)
    cluster, notes = read_cluster(connection)
    intent = read_intent(connection)
    if intent.chosen and not (policy or assignments):
        chosen, budgets = list(intent.chosen.settings), intent.chosen.budgets
    if intent.catalogue and prices is None:
        catalogue = intent.catalogue
    cluster.left_out.extend(unpriced)
    _price(cluster, catalogue, given=bool(prices or intent.catalogue))
    return LivePlan(cluster, preview(cluster, chosen, budgets), notes + intent.notes, chosen)


def dump_plan(
    dump: str,
    policy: tuple[str, ...],
    assignments: tuple[str, ...],
    prices: str | None,
    *,
    usage: Iterable[str] = (),
    now: str | None = None,
) -> LivePlan:
    """Plan for a dump with the policies named, else with all. Raises UsageError."""
    chosen = settings(POLICIES, policy, assignments)
    catalogue, unpriced = read_catalogue(prices)
    cluster = read_dump(dump, usage=usage, now=now)
    cluster.left_out.extend(unpriced)
    _price(cluster, catalogue, given=prices is not None)
    return LivePlan(cluster, preview(cluster, chosen), [], chosen)


def _price(cluster: Dump, catalogue: Catalogue, *, given: bool) -> None:
    set_prices(cluster, catalogue)
    cluster.snapshot.offerings = offerings_of(catalogue, cluster.snapshot, given=given)


def refuse_flags_of_dumps(flags: Mapping[str, object]) -> None:
    """Raises UsageError for flags that are only about dumps."""
    for flag, given in flags.items():
        if given:
            raise unacceptable(flag, given, "nothing, unless a dump is given")
