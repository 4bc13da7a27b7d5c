"""What saves a pod's work before its node goes: a command that the pod's annotation names, or the policy."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from neaptide.model.actions import Checkpoint
from neaptide.model.snapshot import ClusterSnapshot

COMMAND = "neaptide.io/checkpoint-command"
"""Annotation of a pod: a JSON list of words."""
CONTAINER = "neaptide.io/checkpoint-container"
_Words = Annotated[tuple[str, ...], Meta(max_length=100)]


class CheckpointSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is run in pods before they are ended.

    Attributes:
        command: of pods without an annotation of their own; empty for none.
        container: where; the first of a pod, if empty.
        seconds: how long it may take, for the cycle waits for it; never more than half of what the pod has left.
    """

    command: _Words = ()
    container: str = ""
    seconds: Annotated[float, Meta(gt=0, le=60, description="seconds above 0, at most 60")] = 30.0


def checkpoint(snapshot: ClusterSnapshot, pod: int, spec: CheckpointSpec, left: float) -> Checkpoint | None:
    """What is to be run in a pod (row) that has so many seconds left; None for nothing. An annotation that cannot be read counts as none."""
    said = snapshot.pod_annotations(pod)
    command, container = spec.command, spec.container
    if own := _words(said.get(COMMAND, "[]")):
        command, container = own, said.get(CONTAINER, "")
    seconds = min(spec.seconds, left / 2)
    return Checkpoint(command, container, seconds) if command and seconds > 0 else None


def _words(text: str) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return ()
