"""What policies decide: actions with reasons, expected effects and preconditions; plans of them; outcomes of those.

An action is one struct per kind, told apart on the wire by `kind`. `target` is the object it acts on; `concerns()` says
which pods and nodes it takes hold of, for the arbiter's rule of one owner at a time.
"""

from msgspec import Struct

from neaptide.model import objects
from neaptide.model.cloud import Order
from neaptide.model.offerings import Offering
from neaptide.model.problems import LeftOut


class Ref(Struct, frozen=True, gc=False, order=True):
    """Names one object. `namespace` is empty for what has none; `uid` is empty where any object of that name is meant."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Reason(Struct, frozen=True, gc=False):
    """Why: a CamelCase code for machines and a sentence for people."""

    code: str
    message: str


class Effect(Struct, frozen=True, gc=False, rename="camel"):
    """What is expected: the change of cost in US dollars per hour (None where a price is unknown), and the risk in 0..1."""

    money_per_hour: float | None = 0.0
    risk: float = 0.0


class Precondition(Struct, frozen=True, gc=False):
    """A field of the target and the value it must still have when the action is carried out."""

    field: str
    equals: str


class Action(Struct, frozen=True, gc=False, kw_only=True, rename="camel", tag_field="kind"):
    """What every kind of action carries."""

    policy: str
    target: Ref
    reason: Reason
    expected: Effect = Effect()
    preconditions: tuple[Precondition, ...] = ()

    def concerns(self) -> tuple[Ref, ...]:
        """The objects that this action takes hold of."""
        return (self.target,)


class Checkpoint(Struct, frozen=True, gc=False, rename="camel"):
    """A command that saves a pod's work: it is run in a container (the first, where none is named), and has so many seconds."""

    command: tuple[str, ...]
    container: str = ""
    seconds: float = 30.0


class Evict(Action, frozen=True, tag="Evict"):
    """Evict a pod from a node through the eviction API; its controller starts it again.

    `workload` is the top of its owner chain, None for a bare pod; budgets count by it. `bare` says that a pod which no controller
    would start again is meant, too; `forced` that a pod is which an annotation protects, because its node goes all the same;
    `past_budgets` that PodDisruptionBudgets hold no longer for it: it is deleted then. `checkpoint` comes first; whatever comes of
    it, the pod goes.
    """

    node: str
    workload: Ref | None = None
    grace_seconds: float | None = None
    bare: bool = False
    forced: bool = False
    past_budgets: bool = False
    checkpoint: Checkpoint | None = None


class Suspend(Action, frozen=True, tag="Suspend"):
    """Stop a workload's pods and hold its starts (a Job's `spec.suspend`; a Deployment's replicas are kept aside)."""

    pods: int = 0


class Resume(Action, frozen=True, tag="Resume"):
    """Let a suspended workload start its pods."""


class Scale(Action, frozen=True, tag="Scale"):
    """Set how many pods a workload wants: its replicas through the scale subresource, or a Job's `spec.parallelism`.

    `was` is the number that this was decided from, which it must still have.
    """

    replicas: int
    was: int


class SetNodeResources(Action, frozen=True, tag="SetNodeResources"):
    """Set extended resources in a node's status; None removes one."""

    resources: dict[str, int | None]

    def concerns(self) -> tuple[Ref, ...]:
        """None: a node's reclaimed resources belong to one policy alone, and change nothing for who owns the node."""
        return ()


class Taint(Action, frozen=True, tag="Taint"):
    """Put a taint on a node, in place of one with the same key and effect."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Untaint(Action, frozen=True, tag="Untaint"):
    """Take the taints with a key off a node; with an effect, only the one that has it."""

    key: str
    effect: str = ""


class Annotate(Action, frozen=True, tag="Annotate"):
    """Say something on a node, in an annotation; the reason is said in its Event."""

    key: str
    value: str

    def concerns(self) -> tuple[Ref, ...]:
        """None: it changes nothing for who owns the node."""
        return ()


class Cordon(Action, frozen=True, tag="Cordon"):
    """Keep new pods off a node (`spec.unschedulable`)."""


class Uncordon(Action, frozen=True, tag="Uncordon"):
    """Let new pods onto a node again."""


class CreateNode(Action, frozen=True, tag="CreateNode"):
    """Buy a node. `target` is what the plan calls it: the provider names it, and its label `FOR_LABEL` has that name.

    `node_pool` is the pool that it belongs to; empty where the provider has no pools. `taints` are the node's from its first moment.
    """

    offering: Offering
    node_pool: str = ""
    taints: tuple[objects.Taint, ...] = ()

    def concerns(self) -> tuple[Ref, ...]:
        """None: once it is there, the node is anybody's."""
        return ()

    def order(self) -> Order:
        """What a provider is asked for."""
        return Order(name=self.target.name, offering=self.offering, node_pool=self.node_pool, taints=self.taints)


class DeleteNode(Action, frozen=True, tag="DeleteNode"):
    """Give a node back. Only a node on which nobody but DaemonSets has pods is given back.

    `lost` says that its machine does not answer: what is still there runs no more, and a node that is not ready goes with it.
    """

    lost: bool = False


class Nominate(Action, frozen=True, tag="Nominate"):
    """Tell a pod that waits which node is meant for it (`status.nominatedNodeName`): a scheduler tries that one first."""

    node: str

    def concerns(self) -> tuple[Ref, ...]:
        """None: it is advice, and changes nothing for who owns the pod."""
        return ()


class Tolerate(Action, frozen=True, tag="Tolerate"):
    """Let a pod that waits onto nodes with a taint: a toleration, which may be added to a pod at any time, and never taken back.

    An empty `value` tolerates every value of the key, an empty `effect` every effect.
    """

    key: str
    value: str = ""
    effect: str = ""


FOR_LABEL = "neaptide.io/created-for"
"""On a node that was bought: the name that the plan gave it."""

AnyAction = (
    Evict
    | Suspend
    | Resume
    | Scale
    | SetNodeResources
    | Taint
    | Untaint
    | Cordon
    | Uncordon
    | CreateNode
    | DeleteNode
    | Nominate
    | Annotate
    | Tolerate
)


class Declined(Struct, frozen=True, gc=False):
    """Something a policy looked at and left alone, with the reason; `problem` is what of the object could not be used."""

    target: Ref
    reason: Reason
    problem: LeftOut | None = None


class Plan(Struct, frozen=True):
    """What one policy, or the arbiter for all, wants done, in order.

    `later` is what is to follow in later cycles, once `actions` are done and if nothing has changed: it is shown and counted, and never
    carried out from here.
    """

    policy: str
    actions: tuple[AnyAction, ...] = ()
    declined: tuple[Declined, ...] = ()
    later: tuple[AnyAction, ...] = ()


class Outcome(Struct, frozen=True):
    """What became of one action.

    `result` is Done, Recommended (the mode allows no more), Deferred (a budget of the cycle is spent: it may be done in a later one),
    Refused (the arbiter or a precondition), or Failed.
    """

    action: AnyAction
    result: str
    reason: Reason
