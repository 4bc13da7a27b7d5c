"""Who has waited longest, and why; and what would be preempted for one of them: reports that change nothing."""

from collections.abc import Iterable

from msgspec import Struct

from neaptide.model.actions import Ref
from neaptide.model.qos import Band
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.queue import Waiting


class Wait(Struct, frozen=True, rename="camel"):
    """One pod without a node: since when, how often it was tried in vain, and what was said the last time."""

    pod: Ref
    band: str
    priority: int
    seconds: float
    attempts: int
    reason: str


class Preview(Struct, frozen=True, rename="camel"):
    """What a try would bring: the node, the pods that would have to go first, and why where there is no node."""

    node: str = ""
    victims: tuple[Ref, ...] = ()
    reason: str = ""


def longest(snapshot: ClusterSnapshot, waiting: Iterable[Waiting], now: float, *, count: int) -> list[Wait]:
    """The longest waits, the longest first."""
    chosen = sorted(waiting, key=lambda each: (each.since, each.key))[:count]
    return [
        Wait(
            snapshot.pod_ref(pod.row),
            Band(int(snapshot.pods.band[pod.row])).name.lower(),
            int(snapshot.pods.priority[pod.row]),
            now - pod.since,
            pod.attempts,
            pod.message or "not tried yet",
        )
        for pod in chosen
    ]
