"""Which pods give way on a node, in which order, and how many: enough and not more.

Several tasks (CPU by satisfaction, CPU and memory by watermark) may ask at once. What a victim of one task releases
counts for the others, so that the larger demand is met and not their sum. Pods that were evicted before and are still
there count as released already. A pod that would release nothing, or nobody knows what, is left alone: evicting it may
help nobody, and its metric comes within seconds. Source: koordinator pkg/koordlet/qosmanager/plugins/util/evict.go.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

PROD = 3
MID_PRIORITY_MAX = 7999


class PodReading(NamedTuple):
    """A pod of the node, as the rules need it.

    Attributes:
        name: namespace/name.
        qos: BE where it gives way to services; no rule asks for another class.
        band: 0 free, 1 batch, 2 mid, 3 prod.
        priority: `spec.priority`.
        label_priority: `koordinator.sh/priority`, else None.
        eviction_priority: annotation `koordinator.sh/eviction-priority`; lower ones go first.
        eviction_enabled: label `koordinator.sh/eviction-enabled` is true; only best-effort pods go without it.
        eviction_policies: the tasks that annotation `koordinator.sh/eviction-policy` allows, None for all.
        protected: never evicted by these rules.
        evicted: evicted before, and still there.
        cpu_request, cpu_used: milli-cores; the request is batch-cpu for a best-effort pod.
        memory_used: bytes without the page cache. Usage is None where unknown.
    """

    name: str
    qos: str = ""
    band: int = PROD
    priority: int = 0
    label_priority: int | None = None
    eviction_priority: int = 0
    eviction_enabled: bool = False
    eviction_policies: tuple[str, ...] | None = None
    protected: bool = False
    evicted: bool = False
    cpu_request: int = 0
    cpu_used: float | None = None
    memory_used: int | None = None


Measure = Callable[[PodReading], float]


def cpu_used(pod: PodReading) -> float:
    return pod.cpu_used or 0.0


def memory_used(pod: PodReading) -> float:
    return pod.memory_used or 0


def best_effort_request(pod: PodReading) -> float:
    return pod.cpu_request if pod.qos == "BE" else 0


class Task(NamedTuple):
    """`release` of `measure`, taken from `candidates` in their order. `name` is Koordinator's feature gate."""

    name: str
    measure: Measure
    release: float
    candidates: tuple[PodReading, ...]
    reason: str


class Victim(NamedTuple):
    pod: PodReading
    reason: str


class Decision(NamedTuple):
    """Whom to evict, in order; `reason` says why so, or why nobody."""

    victims: tuple[Victim, ...]
    reason: str


def best_effort_order(pods: Iterable[PodReading], task: str, weight: Measure) -> tuple[PodReading, ...]:
    """Best-effort pods that `task` may evict: the lower band first (pods that name none last), lower priority, then the larger `weight`."""
    eligible = [pod for pod in pods if pod.qos == "BE" and _may_go(pod, task)]
    return tuple(sorted(_by_name(eligible), key=lambda pod: (pod.band, pod.priority, -weight(pod))))


def priority_order(
    pods: Iterable[PodReading], task: str, weight: Measure, *, priority_threshold: int
) -> tuple[PodReading, ...]:
    """Pods of any class below prod that `task` may evict, up to a priority: by eviction priority, band, priority, label
    priority, then the larger `weight`.
    """
    eligible = [
        pod
        for pod in pods
        if pod.band < PROD and pod.priority <= priority_threshold and pod.eviction_enabled and _may_go(pod, task)
    ]

    def key(pod: PodReading) -> tuple[float, ...]:
        label = pod.priority if pod.label_priority is None else pod.label_priority
        return pod.eviction_priority, pod.band, pod.priority, label, -weight(pod)

    return tuple(sorted(_by_name(eligible), key=key))


def choose(pods: Sequence[PodReading], tasks: Sequence[Task]) -> Decision:
    """The victims of all tasks, in the order of tasks and candidates."""
    chosen: dict[str, Victim] = {}
    gone = [pod for pod in pods if pod.evicted]
    for task in tasks:
        released = sum(map(task.measure, gone))
        for pod in task.candidates:
            if released >= task.release:
                break
            amount = task.measure(pod)
            if pod.name in chosen or amount <= 0:
                continue
            chosen[pod.name] = Victim(pod, f"{task.name}: {task.reason}")
            gone.append(pod)
            released += amount
    if chosen:
        return Decision(tuple(chosen.values()), "; ".join(f"{task.name}: {task.reason}" for task in tasks))
    return Decision((), "nobody else can give way, or those evicted before release enough")


def decide(pods: Sequence[PodReading], tasks: Sequence[Task | str]) -> Decision:
    """As `choose`, where a task that has nothing to do is the sentence that says why."""
    due = [task for task in tasks if isinstance(task, Task)]
    return choose(pods, due) if due else Decision((), "; ".join(str(why) for why in tasks) or "no task is switched on")


def watermark_percents(threshold: int | None, lower: int | None) -> tuple[int, int] | str:
    """(threshold, lower), the lower one 2 below unless it is set; or why they cannot be used."""
    if threshold is None:
        return "no threshold is set"
    least = threshold - 2 if lower is None else lower
    if threshold < 0 or least >= threshold:
        return f"threshold {threshold} % with lower {least} % cannot be used: 0 <= threshold and lower < threshold"
    return threshold, max(least, 0)


def _may_go(pod: PodReading, task: str) -> bool:
    allowed = pod.eviction_policies is None or task in pod.eviction_policies
    return allowed and not pod.protected and not pod.evicted


def _by_name(pods: Iterable[PodReading]) -> list[PodReading]:
    """Ties go by name, the last one first, as Koordinator's do."""
    return sorted(pods, key=lambda pod: pod.name, reverse=True)
