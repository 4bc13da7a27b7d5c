"""What the scheduling cycle is told. Order matters: events are applied as they happened."""

from msgspec import Struct

from neaptide.model.any_object import AnyObject


class Event(Struct, frozen=True, gc=False, tag_field="event"):
    """What every kind of event is."""


class Listed(Event, frozen=True, tag="Listed"):
    """A first list, all at once; what it does not hold is not taken away."""

    items: tuple[AnyObject, ...]


class Applied(Event, frozen=True, tag="Applied"):
    """An object was added or changed."""

    item: AnyObject


class Removed(Event, frozen=True, tag="Removed"):
    """An object is gone."""

    kind: str
    name: str
    namespace: str = ""


class Bound(Event, frozen=True, tag="Bound"):
    """The API server has taken a binding. `pod` is `namespace/name`; `uid` tells it from its successors."""

    pod: str
    uid: str


class BindFailed(Event, frozen=True, tag="BindFailed"):
    """The API server refused a binding, or what had to come before it, or did not answer in time.

    `reason` is the API's (Conflict, NotFound, Timeout, ...).
    """

    pod: str
    uid: str
    reason: str
    message: str


class PreemptionRefused(Event, frozen=True, tag="PreemptionRefused"):
    """The arbiter or the API refused an eviction that would have made room for a pod."""

    pod: str
    uid: str
    message: str


class Measured(Event, frozen=True, tag="Measured"):
    """Usage was set anew in the machine's snapshot (`set_node_usage`, `set_pod_usage`): the one thing that others write there."""


class Cycle(Event, frozen=True, tag="Cycle"):
    """Plan: try every pod whose turn it is."""


AnyEvent = Listed | Applied | Removed | Bound | BindFailed | PreemptionRefused | Measured | Cycle
