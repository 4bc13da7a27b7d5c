"""Policy: what Neaptide is to do in a cluster, and how far it may go.

The field of a policy's own settings is made from the registries of policies and of admission rules: a new one of either
appears in the API by itself.
"""

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, defstruct, field

from neaptide.admission.protocols import Rule
from neaptide.admission.registry import RULES
from neaptide.kube.crds.types import API_VERSION, Condition, Count, Money, Time
from neaptide.loop import Mode
from neaptide.model.objects import Metadata
from neaptide.model.problems import FieldError
from neaptide.model.protocols import Policy
from neaptide.model.scope import Scope
from neaptide.policies.arbiter import Budgets
from neaptide.policies.registry import POLICIES
from neaptide.policies.window_schedule import WindowSpec


class Schedule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When a Policy in the mode Enforce may act; at other times it recommends.

    Attributes:
        windows: open by cron in a time zone for some seconds; none means always.
    """

    windows: Annotated[tuple[WindowSpec, ...], Meta(max_length=32)] = ()


def field_of(name: str) -> str:
    """How the API calls a policy: `timeWindows` for `time-windows`."""
    first, *others = name.split("-")
    return first + "".join(part.capitalize() for part in others)


_ALL: tuple[Policy | Rule, ...] = (*POLICIES, *RULES)
KINDS = {field_of(each.name): each for each in _ALL}
"""What `spec.policy` may name: the policies of the loop and the rules of admission, in order of precedence."""


class Common(Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What every Policy says, whatever it is about.

    Attributes:
        policy: which policy this configures; its own settings stand in the field of the same name.
        mode: Off does nothing, Recommend shows the plan, Enforce has it carried out.
        scope: what of the cluster it is about; everything by default.
        schedule: when it may act.
        limits: how much disruption it allows. All policies share one arbiter: where several Policies set a limit, the
            strictest holds for all.
    """

    policy: Annotated[str, Meta(extra_json_schema={"enum": list(KINDS)})]
    mode: Mode = Mode.RECOMMEND
    scope: Scope = Scope()
    schedule: Schedule = Schedule()
    limits: Budgets | None = None

    def __post_init__(self) -> None:
        """Raises FieldError for a policy that there is none of, and for settings of another one than that which is named."""
        if self.policy not in KINDS:
            raise FieldError("policy", self.policy, "one of " + ", ".join(KINDS))
        for name in KINDS:
            if name != self.policy and getattr(self, name, None) is not None:
                raise FieldError("policy", self.policy, f"{name}, or no settings in the field {name}")

    @property
    def kind(self) -> Policy | Rule:
        """The policy or rule that this configures."""
        return KINDS[self.policy]

    @property
    def own(self) -> Any:  # noqa: ANN401 - each policy has its own spec
        """The policy's own settings, its defaults where none are given."""
        given = getattr(self, self.policy)
        return self.kind.spec_type() if given is None else given


if TYPE_CHECKING:
    PolicySpec = Common
else:
    PolicySpec = defstruct(
        "PolicySpec",
        [(name, kind.spec_type | None, field(name=name, default=None)) for name, kind in KINDS.items()],
        bases=(Common,),
        module=__name__,
        frozen=True,
        kw_only=True,
        rename="camel",
        forbid_unknown_fields=True,
    )


class LastPlan(Struct, frozen=True, rename="camel"):
    """What the policy wanted in the latest cycle.

    Attributes:
        time: when it was planned.
        actions: how many actions it wants.
        done: how many of them were carried out.
        refused: how many the arbiter or a precondition refused.
        failed: how many were tried and failed.
        declined: how many objects it looked at and left alone.
        money_per_hour: what the actions are expected to change, in US dollars per hour.
    """

    time: Time
    actions: Count = 0
    done: Count = 0
    refused: Count = 0
    failed: Count = 0
    declined: Count = 0
    money_per_hour: Money = None


READY = "Ready"
"""The Policy was read and takes part in the loop (or in admission)."""
DEGRADED = "Degraded"
"""It takes part, but something that it needs is missing or too old."""
CONFLICT = "Conflict"
"""Another Policy for the same policy is older and counts instead."""


class PolicyStatus(Struct, frozen=True, rename="camel"):
    """What became of a Policy.

    Attributes:
        observed_generation: the generation that this is about.
        conditions: Ready, Degraded, Conflict.
        last_plan: the latest cycle's.
    """

    observed_generation: Count = 0
    conditions: tuple[Condition, ...] = ()
    last_plan: LastPlan | None = None


class PolicyObject(Struct, frozen=True, rename="camel", kw_only=True):
    """What Neaptide is to do in the cluster, and how far it may go."""

    spec: PolicySpec
    status: PolicyStatus = PolicyStatus()
    api_version: str = API_VERSION
    kind: str = "Policy"
    metadata: Metadata = Metadata()
