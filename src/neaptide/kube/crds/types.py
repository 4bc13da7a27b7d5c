"""Types that the kinds of `neaptide.io/v1alpha1` share."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

GROUP = "neaptide.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339, as `model.times` reads and writes it."""
Count = Annotated[int, Meta(ge=0)]
Money = Annotated[float | None, Meta(description="US dollars per hour; missing where a price is unknown.")]
Sentence = Annotated[str, Meta(max_length=32_768)]


class Condition(Struct, frozen=True, rename="camel"):
    """One aspect of an object's state, as in every Kubernetes API.

    Attributes:
        type: what the condition is about.
        status: whether it holds.
        reason: a CamelCase code for machines.
        message: a sentence for people.
        observed_generation: the generation of the object that this was found for.
        last_transition_time: when the status changed last.
    """

    type: Annotated[str, Meta(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Meta(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=1024)]
    last_transition_time: Time
    message: Sentence = ""
    observed_generation: Count = 0


def transition(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """The conditions with one of them as it is now; its time of transition stays where its status does."""
    before = next((each for each in conditions if each.type == new.type), None)
    if before is not None and before.status == new.status:
        new = Condition(
            new.type, new.status, new.reason, before.last_transition_time, new.message, new.observed_generation
        )
    if before is None:
        return (*conditions, new)
    return tuple(new if each.type == new.type else each for each in conditions)
