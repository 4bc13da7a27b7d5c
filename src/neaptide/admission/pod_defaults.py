"""The priority class, labels and annotations that a Policy gives to the pods of a namespace."""

from msgspec import Struct

from neaptide.admission.draft import Draft
from neaptide.admission.protocols import Namespace


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
