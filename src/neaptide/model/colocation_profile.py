"""ClusterColocationProfile (`config.koordinator.sh/v1alpha1`): what the pods that it matches become. Names and meaning are Koordinator's."""

import re
from typing import Annotated, Any

from msgspec import Meta, field

from neaptide.model.objects import ApiStruct, LabelSelector, Metadata
from neaptide.model.problems import FieldError

_PERCENT = re.compile(r"(\d{1,3})%")
_QOS = ("", "LSE", "LSR", "LS", "BE", "SYSTEM")

EPHEMERAL = "neaptide.io/ephemeral-storage-class"
"""An annotation of a profile: the StorageClass whose volumes take the place of matched offline pods' emptyDir volumes."""
EPHEMERAL_SIZE = "neaptide.io/ephemeral-size"
"""An annotation of a profile: how large such a volume is where the emptyDir has no sizeLimit."""


class ProfileSpec(ApiStruct, frozen=True):
    """The fields of a profile. `probability` is an integer percentage or text such as `30%`; without one every pod is meant.

    `patch` is merged into the pod last (a strategic merge).
    """

    namespace_selector: LabelSelector | None = None
    selector: LabelSelector | None = None
    probability: int | str | None = None
    qos_class: str = ""
    priority_class_name: str = ""
    koordinator_priority: Annotated[int, Meta(ge=-(2**31), lt=2**31)] | None = None
    scheduler_name: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    label_keys_mapping: dict[str, str] = field(default_factory=dict)
    annotation_keys_mapping: dict[str, str] = field(default_factory=dict)
    patch: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises FieldError for a class that there is none of, a probability that is none, and a patch that cannot be merged."""
        if self.patch.keys() - {"metadata", "spec"}:
            raise FieldError("spec.patch", ", ".join(self.patch), "metadata and spec of a pod")
        if "$setElementOrder" in repr(self.patch):
            raise FieldError("spec.patch", "$setElementOrder", "a strategic merge patch without it")
        if self.qos_class not in _QOS:
            raise FieldError("spec.qosClass", self.qos_class, "one of LSE, LSR, LS, BE, SYSTEM")
        _ = self.percent

    @property
    def percent(self) -> int:
        """Of a hundred pods, how many are meant. Raises FieldError."""
        given = self.probability
        if given is None:
            return 100
        match = _PERCENT.fullmatch(given) if isinstance(given, str) else None
        number = int(match[1]) if match else given
        if not isinstance(number, int) or not 0 <= number <= 100:
            raise FieldError("spec.probability", given, "an integer from 0 to 100, or a percentage such as 30%")
        return number


class ClusterColocationProfile(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: ProfileSpec = ProfileSpec()
