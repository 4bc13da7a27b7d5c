"""What a rule of admission is, and what it is told."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from neaptide.admission.draft import Draft


class Namespace(NamedTuple):
    """The namespace that a pod is going into, and what rules are told besides.

    Attributes:
        known: by a rule's name, what of the cluster's objects it asks for.
        request: tells one review from another; empty where there is none.
    """

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = {}
    known: Mapping[str, Any] = {}
    request: str = ""


class RefusedError(Exception):
    """The pod must not be admitted; the message is what the user reads."""


class Rule(Protocol):
    """One rule. `spec_type` is a msgspec Struct with defaults: the settings of one Policy."""

    @property
    def name(self) -> str: ...
    @property
    def spec_type(self) -> type[Any]: ...

    def admit(self, draft: Draft, namespace: Namespace, spec: Any) -> None:  # noqa: ANN401 - each rule has its own spec
        """Add to a pod what a Policy wants. Raises RefusedError."""

    def mutations(self, spec: Any) -> Sequence[str]:  # noqa: ANN401 - as above
        """The same in CEL (admission/cel.py); empty where CEL does not suffice, or there is nothing to do."""
