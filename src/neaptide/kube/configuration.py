"""The objects of neaptide.io as the loop's settings and prices, and what is to be said of each Policy in its status."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, cast

import msgspec
import structlog
from msgspec import Raw, Struct
from msgspec.structs import replace

from neaptide.kube.crds.policy import KINDS, PolicyObject
from neaptide.kube.crds.price_catalogue import read
from neaptide.kube.objects_of_ours import OwnObjects
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import served
from neaptide.kubeapi.resources import PLANS, POLICIES, PRICE_CATALOGUES
from neaptide.loop import Mode, Setting
from neaptide.model.objects import Metadata
from neaptide.model.problems import FieldError
from neaptide.model.protocols import Policy
from neaptide.policies.arbiter import Budgets
from neaptide.policies.window_schedule import is_open, parse_window
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.load import shipped
from neaptide.pricing.parse import CatalogueError

_NOT_ACCEPTED = "NotAccepted"


class Verdict(Struct, frozen=True):
    """What is to be said of an object: whether it takes part, and why not. `conflict` names the one that counts instead."""

    meta: Metadata
    ready: bool
    reason: str
    message: str
    policy: str = ""
    conflict: str = ""


class Chosen(Struct, frozen=True):
    """What all Policy objects together ask for."""

    settings: tuple[Setting, ...]
    budgets: Budgets
    verdicts: dict[str, Verdict]
    """By the name of the object."""


class Configuration:
    """What the cluster's own objects ask for now.

    Args:
        client: the wire.
        fixed: settings that hold in place of those of Policy objects.
        budgets: limits that hold in place of theirs.
        changed: is called when what users want has changed: any of the objects, a Plan from its approval on.

    Attributes:
        is_served: whether the API server has the kinds of neaptide.io.
    """

    def __init__(
        self,
        client: Client,
        *,
        fixed: Sequence[Setting] | None = None,
        budgets: Budgets | None = None,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._client, self._fixed, self._budgets = client, fixed, budgets
        self._own = {
            POLICIES.kind: OwnObjects(client, POLICIES, changed),
            PLANS.kind: OwnObjects(client, PLANS, changed, counts=_is_approved),
            PRICE_CATALOGUES.kind: OwnObjects(client, PRICE_CATALOGUES, changed),
        }
        self._priced: dict[str, bytes] = {}
        self._log = structlog.get_logger()
        self.is_served = False

    def streams(self) -> list[Coroutine[Any, Any, None]]:
        """To be run for as long as anything is asked of this; kinds that come later are noticed."""
        return [each.run() for each in self._own.values()]

    async def ready(self) -> None:
        """Return once all objects were seen, or at once where their kinds are not installed."""
        if POLICIES in await served(self._client):
            await asyncio.gather(*(each.synced.wait() for each in self._own.values()))
            self.is_served = True
        elif self._fixed is None:
            self._log.warning("the kinds of neaptide.io are not installed: there is nothing to do")

    @property
    def policies(self) -> dict[str, bytes]:
        """The Policy objects by name, as JSON."""
        return self._own[POLICIES.kind].raws

    @property
    def plans(self) -> dict[str, bytes]:
        """The Plan objects by name, as JSON."""
        return self._own[PLANS.kind].raws

    def chosen(self, now: float) -> Chosen:
        """What is to be done."""
        found = choose(self.policies.values(), now)
        if self._fixed is not None:
            found = replace(found, settings=tuple(self._fixed))
        return found if self._budgets is None else replace(found, budgets=self._budgets)

    def says_all(self, chosen: Chosen) -> bool:
        """Whether what is in no Policy is done by nobody here: no settings are fixed, and every Policy can be read."""
        readable = all(each.reason != _NOT_ACCEPTED for each in chosen.verdicts.values())
        return self._fixed is None and self.is_served and readable

    def new_catalogue(self) -> Catalogue | None:
        """The prices, where they have changed since the last call."""
        raws = self._own[PRICE_CATALOGUES.kind].raws
        if raws == self._priced:
            return None
        self._priced = dict(raws)
        catalogue, problems = catalogue_of(raws.values())
        for problem in problems:
            self._log.warning("prices left out", reason=problem)
        return shipped() if catalogue is None else catalogue


class _Stored(Struct, frozen=True):
    metadata: Metadata


class _Approvable(Struct, frozen=True):
    approved: bool = False


class _Asked(Struct, frozen=True):
    spec: _Approvable = _Approvable()


def _is_approved(raw: Raw) -> bool:
    return msgspec.json.decode(raw, type=_Asked).spec.approved


def choose(raws: Iterable[bytes], now: float) -> Chosen:
    """Of Policy objects for one policy the oldest counts; limits of all are combined, the strictest holds."""
    verdicts: dict[str, Verdict] = {}
    by_kind: dict[str, PolicyObject] = {}
    limits: list[Budgets] = []
    for meta, found in sorted(map(_policy, raws), key=lambda each: (each[0].creation_timestamp or "", each[0].name)):
        if isinstance(found, str):
            verdicts[meta.name] = Verdict(meta, ready=False, reason=_NOT_ACCEPTED, message=found)
            continue
        policy, in_the_loop = found.spec.policy, _in_the_loop(found)
        other = by_kind.get(policy)
        if other is not None and in_the_loop:
            why = f"the Policy {other.metadata.name} is older and counts instead"
            verdicts[meta.name] = Verdict(
                meta, ready=False, reason="Conflict", message=why, conflict=other.metadata.name
            )
            continue
        if in_the_loop:  # admission takes as many as there are, one after the other
            by_kind[policy] = found
        if found.spec.limits is not None:
            limits.append(found.spec.limits)
        verdicts[meta.name] = Verdict(
            meta,
            ready=True,
            reason="Accepted",
            message=f"its mode is {found.spec.mode.value}",
            policy=found.spec.kind.name,
        )
    settings = [_setting(by_kind[name], now) for name in KINDS if name in by_kind]
    return Chosen(tuple(settings), strictest(limits), verdicts)


def strictest(limits: Sequence[Budgets]) -> Budgets:
    """The tightest of all: the fewest evictions, the longest times."""
    if not limits:
        return Budgets()
    names = Budgets.__struct_fields__
    tightest: dict[str, Callable[..., Any]] = {name: max if name.endswith("_seconds") else min for name in names}
    return Budgets(**{name: tightest[name](getattr(each, name) for each in limits) for name in names})


def catalogue_of(raws: Iterable[bytes]) -> tuple[Catalogue | None, list[str]]:
    """The prices of all PriceCatalogue objects, None without any, and sentences on those that cannot be used."""
    found: list[Catalogue] = []
    problems: list[str] = []
    for raw in sorted(raws, key=lambda raw: msgspec.json.decode(raw, type=_Stored).metadata.name):
        try:
            catalogue, left_out = read(raw)
        except (CatalogueError, msgspec.MsgspecError) as error:
            problems.append(str(error))
            continue
        found.append(catalogue)
        problems += map(str, left_out)
    if not found:
        return None, problems
    instances = [price for each in found for price in each.instances]
    units, gpus = [price for each in found for price in each.units], [price for each in found for price in each.gpus]
    return Catalogue(instances, units, gpus), problems


def _policy(raw: bytes) -> tuple[Metadata, PolicyObject | str]:
    """A Policy, or a sentence on why it cannot be used."""
    meta = msgspec.json.decode(raw, type=_Stored).metadata
    try:
        found = msgspec.json.decode(raw, type=PolicyObject)
        for index, window in enumerate(found.spec.schedule.windows):
            parse_window(window, where=f"spec.schedule.windows[{index}].")
    except (msgspec.MsgspecError, FieldError) as error:
        return meta, str(error)
    return meta, found


def _in_the_loop(found: PolicyObject) -> bool:
    return hasattr(found.spec.kind, "plan")


def _setting(found: PolicyObject, now: float) -> Setting:
    spec = found.spec
    windows = [parse_window(each) for each in spec.schedule.windows]
    mode = Mode.RECOMMEND if spec.mode is Mode.ENFORCE and windows and not is_open(windows, now) else spec.mode
    return Setting(cast("Policy", spec.kind), spec.own, mode, spec.scope)
