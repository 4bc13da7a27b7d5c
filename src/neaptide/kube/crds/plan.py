"""Plan: what would be done to the cluster, for a person to approve."""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from neaptide.kube.crds.types import API_VERSION, Condition, Count, Money, Sentence, Time
from neaptide.model.actions import AnyAction, Reason
from neaptide.model.objects import Metadata

MAX_ACTIONS = 1000


class Phase(StrEnum):
    """How far a Plan has come."""

    PENDING = "Pending"
    APPROVED = "Approved"
    RUNNING = "Running"
    DONE = "Done"
    STOPPED = "Stopped"
    EXPIRED = "Expired"


class PlannedMoney(Struct, frozen=True, rename="camel"):
    """What the cluster's nodes cost.

    Attributes:
        now: as it was when the plan was made.
        planned: as expected once the plan is carried out.
        bound: what no plan can go below.
    """

    now: Money = None
    planned: Money = None
    bound: Money = None


class PlanSpec(Struct, frozen=True, rename="camel", kw_only=True):
    """What would be done; only `approved` may change afterwards.

    Attributes:
        approved: whether it is to be carried out; `neaptide approve NAME` sets it.
        created: when it was planned.
        expires: what is not approved by then is not carried out.
        digest: of the snapshot that it was planned on.
        money: US dollars per hour.
        evictions: how many of the actions are evictions.
        actions: in order; each is checked again when it is carried out.
    """

    created: Time
    expires: Time
    actions: Annotated[tuple[AnyAction, ...], Meta(min_length=1, max_length=MAX_ACTIONS)]
    approved: bool = False
    digest: str = ""
    money: PlannedMoney = PlannedMoney()
    evictions: Count = 0


class ActionResult(Struct, frozen=True, rename="camel"):
    """What became of one action.

    Attributes:
        action: its position in `spec.actions`.
        result: Done, Deferred (to a later cycle), Refused (by the arbiter or a precondition) or Failed.
        reason: why.
        time: when.
    """

    action: Count
    result: Literal["Done", "Deferred", "Refused", "Failed"]
    reason: Reason
    time: Time


class PlanStatus(Struct, frozen=True, rename="camel"):
    """How far the Plan has come.

    Attributes:
        observed_generation: the generation that this is about.
        phase: Pending, Approved, Running, Done, Stopped (at the first surprise) or Expired.
        message: a sentence about the phase.
        conditions: Ready.
        outcomes: one for each action that was taken up.
    """

    observed_generation: Count = 0
    phase: Phase = Phase.PENDING
    message: Sentence = ""
    conditions: tuple[Condition, ...] = ()
    outcomes: Annotated[tuple[ActionResult, ...], Meta(max_length=MAX_ACTIONS)] = ()


class PlanObject(Struct, frozen=True, rename="camel", kw_only=True):
    """What would be done to the cluster, what it saves, and what became of it."""

    spec: PlanSpec
    status: PlanStatus = PlanStatus()
    api_version: str = API_VERSION
    kind: str = "Plan"
    metadata: Metadata = Metadata()
