"""Settings of the policy `elastic-offline`."""

from typing import Annotated

from msgspec import Meta, Struct

from neaptide.model.problems import FieldError
from neaptide.policies.time_windows_spec import BandName

KindName = Annotated[
    str,
    Meta(
        pattern="^[A-Z][A-Za-z0-9]{0,62}$",
        description="a kind, as Deployment, Job or one that the controller was told of",
    ),
]

_Count = Annotated[int, Meta(ge=0, le=10**6, description="an integer from 0 to 1000000")]
_Positive = Annotated[int, Meta(ge=1, le=10**6, description="an integer from 1 to 1000000")]
_Seconds = Annotated[float, Meta(ge=0, le=10**7, description="seconds from 0 to 10000000")]
_Fraction = Annotated[float, Meta(ge=0, le=0.9, description="a number from 0 to 0.9")]


class ElasticSelector(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which workloads a rule is about; all that is said must hold.

    `kinds` are Deployment, StatefulSet, CloneSet, Job, and those that the controller's `--workload` names.
    `labels` are those of the workload or of its pods. Where neither `namespaces` nor `labels` nor `bands` is said, it is
    offline work: band batch or free, or the label of QoS class BE.
    """

    kinds: tuple[KindName, ...] = ("Deployment",)
    namespaces: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    bands: tuple[BandName, ...] = ()


class ElasticRule(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How far some workloads grow and shrink, in pods.

    Attributes:
        selector: which ones; a workload is under the first rule that selects it.
        minimum, maximum: of pods.
        step: by how many it grows at once.
        cool_down_seconds: how long after a change it may grow again; it shrinks at any time.
    """

    selector: ElasticSelector = ElasticSelector()
    minimum: _Count = 0
    maximum: _Positive = 100
    step: _Positive = 5
    cool_down_seconds: _Seconds = 300.0

    def __post_init__(self) -> None:
        """Raises FieldError where no number of pods would do."""
        if self.minimum > self.maximum:
            raise FieldError("minimum", self.minimum, f"an integer up to maximum, {self.maximum}")


class ElasticOfflineSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What offline work may take of reclaimed resources.

    Attributes:
        rules: for whom; without any nothing is done.
        reserve: the part of what is expected to be there that stays free.
        horizon_seconds: how far ahead that is expected: so early work shrinks before services need the room.
    """

    rules: tuple[ElasticRule, ...] = ()
    reserve: _Fraction = 0.1
    horizon_seconds: _Seconds = 900.0
