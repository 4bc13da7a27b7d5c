"""The priority class, labels and annotations that a Policy gives to the pods of a namespace."""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from neaptide.admission import cel
from neaptide.admission.draft import Draft
from neaptide.admission.protocols import Namespace
from neaptide.model.problems import FieldError

_NAME = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_ACCEPTED_NAME = "a name of at most 63 letters, digits, -, _ and ., perhaps after a DNS name and a slash"
_ACCEPTED_VALUE = "at most 63 letters, digits, -, _ and ., with a letter or digit at both ends"


class PodDefaultsSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What pods get where they do not have it; nothing is overwritten.

    Attributes:
        priority_class_name: for pods without a priority class.
        labels: each for pods without that label.
        annotations: each for pods without that annotation.
    """

    priority_class_name: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Raises FieldError: what the API server would refuse would keep every pod of the namespace out."""
        checked_entries(self.labels, self.annotations)


def checked_entries(labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    """Raises FieldError for labels and annotations that no object may have."""
    for field, entries in (("labels", labels), ("annotations", annotations)):
        for key in entries:
            if not _NAME.fullmatch(key):
                raise FieldError(field, key, _ACCEPTED_NAME)
    for key, value in labels.items():
        if not _VALUE.fullmatch(value):
            raise FieldError(f"labels[{key}]", value, _ACCEPTED_VALUE)


class PodDefaults:
    """The rule `podDefaults`."""

    name = "podDefaults"
    spec_type = PodDefaultsSpec

    def admit(self, draft: Draft, namespace: Namespace, spec: PodDefaultsSpec) -> None:
        """Add what the pod lacks."""
        del namespace
        if spec.priority_class_name:
            draft.give_priority_class(spec.priority_class_name)
        for key, value in spec.labels.items():
            draft.label(key, value)
        for key, value in spec.annotations.items():
            draft.annotate(key, value)

    def mutations(self, spec: PodDefaultsSpec) -> Sequence[str]:
        """The same in CEL."""
        given = [cel.giving_priority_class(spec.priority_class_name)] if spec.priority_class_name else []
        added = (("labels", spec.labels), ("annotations", spec.annotations))
        return given + [cel.adding_to_map(field, entries) for field, entries in added if entries]
