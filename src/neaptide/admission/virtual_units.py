"""The mode `spread`: units in their order, each up to its maximum, as ACK's ResourcePolicy has them.

A pod gets a label that names its unit, and by that label pods are counted. Who is there already is told: this only decides.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from neaptide.admission.draft import Draft
from neaptide.admission.pod_defaults import checked_entries
from neaptide.admission.protocols import RefusedError
from neaptide.admission.virtual_names import TYPE, UNIT, VIRTUAL
from neaptide.model.problems import FieldError


class Unit(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A part of the nodes, and how many pods go there.

    Attributes:
        name: the value of the label of its pods.
        virtual: whether it is of virtual nodes; else it is of real ones only.
        node_selector: labels of its nodes.
        max: pods at most; any number by default.
    """

    name: str
    virtual: bool = False
    node_selector: dict[str, str] = {}
    max: int | None = None


class Crowd(Struct, frozen=True):
    """Unfinished pods of a namespace that have the label of a unit, and the same labels.

    Attributes:
        old: those that have been there for so long that whoever admitted them is sure to have seen them.
        new: the others.
    """

    labels: Mapping[str, str]
    old: int = 0
    new: int = 0


class Known(Struct, frozen=True):
    """What of a namespace the rule is told.

    Attributes:
        crowds: its pods as the API has them.
        given: the labels of each pod that was let in by this process lately, and may or may not be among the new ones of the crowds.
    """

    crowds: Sequence[Crowd] = ()
    given: Sequence[Mapping[str, str]] = ()


def checked_units(units: Sequence[Unit]) -> None:
    """Raises FieldError for units that cannot be."""
    seen: set[str] = set()
    for number, unit in enumerate(units):
        if not unit.name or unit.name in seen:
            raise FieldError(f"units[{number}].name", unit.name, "a name that no other unit has")
        seen.add(unit.name)
        if unit.max is not None and unit.max < 0:
            raise FieldError(f"units[{number}].max", unit.max, "0 or more, or nothing for any number")
        checked_entries({UNIT: unit.name, **unit.node_selector}, {})


def unit_of(draft: Draft, units: Sequence[Unit], keys: Sequence[str], known: Known) -> Unit:
    """The unit that a pod is in already, else the first that is not full.

    Args:
        draft: the pod.
        units: in their order.
        keys: labels; pods count together that have the same values of all of them.
        known: the pods that are there.

    Raises:
        RefusedError: all are full.
    """
    named = draft.labels.get(UNIT)
    for unit in units:
        if unit.name == named:
            return unit
    told = []
    for unit in units:
        taken = _taken({**draft.labels, UNIT: unit.name}, (UNIT, *keys), known)
        if unit.max is None or taken < unit.max:
            return unit
        told.append(f"{unit.name} has {taken} of {unit.max}")
    raise RefusedError(f"no unit has room for this pod: {', '.join(told)}")


def keep_in(draft: Draft, unit: Unit, toleration: Mapping[str, str]) -> None:
    """Label a pod with its unit, and let it onto the nodes of that and no others."""
    draft.label(UNIT, unit.name)
    if unit.virtual:
        draft.tolerate(toleration)
    draft.require_node({"key": TYPE, "operator": "In" if unit.virtual else "NotIn", "values": [VIRTUAL]})
    for key, value in unit.node_selector.items():
        draft.require_node({"key": key, "operator": "In", "values": [value]})


def _taken(labels: Mapping[str, str], keys: Sequence[str], known: Known) -> int:
    """How many pods count. One that was let in lately is among the new ones or will be: the larger of both numbers is on the safe side."""

    def alike(others: Mapping[str, str]) -> bool:
        return all(others.get(key) == labels.get(key) for key in keys)

    crowds = [each for each in known.crowds if alike(each.labels)]
    new = max(sum(each.new for each in crowds), sum(map(alike, known.given)))
    return sum(each.old for each in crowds) + new
