"""What a check looks at, and what it says."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from neaptide.kubeapi.resources import Resource
from neaptide.model.snapshot import ClusterSnapshot

Severity = Literal["problem", "warning", "note"]


class Finding(Struct, frozen=True):
    """One thing that a user should know.

    Attributes:
        severity: a problem keeps something from working; a warning is unsafe or costs money; a note only informs.
        about: what it is about.
        message: what was found.
        fix: what to do; empty where nothing has to be done.
    """

    severity: Severity
    about: str
    message: str
    fix: str = ""


class Right(Struct, frozen=True):
    """Something that a command needs to be allowed: `verb` on a resource (`pods/eviction` with its subresource)."""

    verb: str
    resource: Resource
    subresource: str = ""
    purpose: str = ""

    def __str__(self) -> str:
        name = "/".join(part for part in (self.resource.plural, self.subresource) if part)
        return f"{self.verb} {name}.{self.resource.group}" if self.resource.group else f"{self.verb} {name}"


class Seen(Struct, frozen=True):
    """A cluster as it was found.

    Attributes:
        snapshot: what could be read of it.
        now: seconds since the epoch.
        unseen: sentences on what could not be seen.
        served: the resources that the API server has.
        leases: holder of every lease, by `namespace/name`, with the time it was last renewed (seconds since the epoch); None where that cannot be read.
        rights: whether each right is given.
        fail_open: by name of a webhook, how many requests the API server let pass because it did not answer; None where that cannot be read.
        webhooks: by name of a webhook that is asked about pods, its failure policy.
        policies: the Policy objects as JSON, by name; None where they cannot be read.
    """

    snapshot: ClusterSnapshot
    now: float
    unseen: list[str] = []
    served: frozenset[Resource] = frozenset()
    leases: Mapping[str, tuple[str, float]] | None = {}
    rights: Mapping[Right, bool] = {}
    fail_open: Mapping[str, float] | None = None
    webhooks: Mapping[str, str] = {}
    policies: Mapping[str, bytes] | None = {}

    def groups(self) -> set[str]:
        """The API groups that are served."""
        return {resource.group for resource in self.served}


def some(names: Sequence[str], *, most: int = 5) -> str:
    """The first names of a list."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
