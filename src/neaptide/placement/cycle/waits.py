"""Who has waited longest, and why; and what would be preempted for one of them: reports that change nothing."""

from collections.abc import Iterable

from msgspec import Struct

from neaptide.model.actions import Ref
from neaptide.model.qos import Band
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.attempts import Attempts
from neaptide.placement.cycle.preemption import Preemptor
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


def preview(
    snapshot: ClusterSnapshot, pod: Waiting, attempts: Attempts, preemptor: Preemptor, now: float, *, nominated: int
) -> Preview:
    """What a try of a pod would bring now."""
    with snapshot.what_if():
        attempt = attempts.one(pod.row, attempts.concerned(pod.row), now, nominated=nominated)
        if attempt.node is not None:
            return Preview(snapshot.nodes.names[attempt.node])
        if not attempt.may_be_helped:
            return Preview(reason=attempt.message)
        preemptor.begin()
        made = preemptor.plan(pod, attempt.verdict, now)
        if made.node is None:
            return Preview(reason=f"{attempt.message} {made.message}".rstrip())
        return Preview(snapshot.nodes.names[made.node], tuple(snapshot.pod_ref(each) for each in made.victims))
