"""What to do next for a pod, from its spec and the containers that there are: no I/O, and no memory but what the runtime keeps.

Containers of a pod are told apart by name and attempt. One that was created is started and not created again, one that has ended is started
again, as another attempt, where the restart policy says so. So it does not matter where an earlier process was killed.

Source: kubernetes/kubernetes pkg/kubelet/kuberuntime (computePodActions, doBackOff), v1.36.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from neaptide.virtualnode.states import Container, Ended, Running, Waiting

FIRST_BACKOFF = 10.0
LONGEST_BACKOFF = 300.0
FORGIVEN_AFTER = 600.0
"""A container that ran so many seconds begins its back-off anew."""

CREATED, RUNNING, EXITED = "created", "running", "exited"
_SIGNALLED = 128
_LAST_SIGNAL = 64


class Seen(NamedTuple):
    """A container at the runtime. Times are epoch seconds, None where it has not come to that."""

    id: str
    name: str
    attempt: int
    state: str
    started: float | None = None
    finished: float | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_id: str = ""


class Step(NamedTuple):
    """Start a container: the one that was created and has this ID, else a new one."""

    name: str
    attempt: int
    id: str = ""


class Next(NamedTuple):
    """What to start now, and when to look again where nothing happens before; None where only a change matters."""

    steps: tuple[Step, ...] = ()
    due: float | None = None


Attempts = Mapping[str, Sequence[Seen]]
"""The containers of a pod by name, the latest attempt last."""


def attempts(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    """Containers by name, in the order of their attempts."""
    found: dict[str, list[Seen]] = {}
    for each in sorted(seen, key=lambda each: (each.name, each.attempt)):
        found.setdefault(each.name, []).append(each)
    return found


def next_of(spec: Mapping[str, Any], found: Attempts, now: float) -> Next:
    """What a pod that is to run needs now: its init containers one after the other, then all of its containers."""
    policy = spec.get("restartPolicy") or "Always"
    init_policy = "Never" if policy == "Never" else "OnFailure"
    for each in spec.get("initContainers") or ():
        runs = found.get(each["name"], ())
        if runs and runs[-1].state == EXITED and runs[-1].exit_code == 0:
            continue
        return _next(each["name"], runs, init_policy, now)
    parts = [_next(each["name"], found.get(each["name"], ()), policy, now) for each in spec["containers"]]
    due = min((part.due for part in parts if part.due is not None), default=None)
    return Next(tuple(step for part in parts for step in part.steps), due)


def shown(
    specs: Iterable[Mapping[str, Any]],
    found: Attempts,
    *,
    policy: str,
    waiting: Mapping[str, Waiting],
    over: bool,
    now: float,
) -> tuple[Container, ...]:
    """Containers as the virtual kubelet is told of them.

    Args:
        specs: of containers or init containers.
        found: what there is of them.
        policy: the restart policy that holds for them.
        waiting: why a container is not there yet, by name.
        over: nothing is started any more.
        now: epoch seconds.
    """
    return tuple(_shown(each, found.get(each["name"], ()), policy, waiting, now, over=over) for each in specs)


def backoff(last: Seen) -> float:
    """Seconds between the end of an attempt and the next: none at first, then 10, doubled each time, at most 300."""
    ran = (last.finished or 0.0) - (last.started or last.finished or 0.0)
    if last.attempt == 0 or ran >= FORGIVEN_AFTER:
        return 0.0
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(last.attempt - 1, 10))


def begins_again(last: Seen, policy: str) -> bool:
    """Whether a container that has ended is started again."""
    return policy == "Always" or (policy == "OnFailure" and last.exit_code != 0)


def superseded(found: Attempts) -> list[Seen]:
    """Attempts that nobody asks for any more: all but the last two of each container, of which the older has the logs of before."""
    return [each for runs in found.values() for each in runs[:-2] if each.state == EXITED]


def _next(name: str, runs: Sequence[Seen], policy: str, now: float) -> Next:
    if not runs:
        return Next((Step(name, 0),))
    last = runs[-1]
    if last.state == CREATED:
        return Next((Step(name, last.attempt, last.id),))
    if last.state == RUNNING or not begins_again(last, policy):
        return Next()
    due = (last.finished or now) + backoff(last)
    # a clock that was set back must not make anybody wait longer than the back-off
    if due <= now or due - now > backoff(last):
        return Next((Step(name, last.attempt + 1),))
    return Next(due=due)


def _shown(
    spec: Mapping[str, Any],
    runs: Sequence[Seen],
    policy: str,
    waiting: Mapping[str, Waiting],
    now: float,
    *,
    over: bool,
) -> Container:
    name, image = spec["name"], spec.get("image") or ""
    if not runs:
        return Container(name, waiting.get(name) or Waiting(), image=image)
    last, before = runs[-1], runs[-2] if len(runs) > 1 else None
    facts = {
        "restarts": last.attempt,
        "image": last.image or image,
        "image_id": last.image_id,
        "container_id": f"containerd://{last.id}",
    }
    earlier = _ended(before) if before is not None and before.state == EXITED else None
    if last.state == RUNNING:
        return Container(name, Running(last.started or now), earlier, **facts)  # type: ignore[arg-type]
    if last.state == CREATED:
        return Container(name, waiting.get(name) or Waiting(), earlier, **facts)  # type: ignore[arg-type]
    if over or not begins_again(last, policy):
        return Container(name, _ended(last), earlier, **facts)  # type: ignore[arg-type]
    message = f"back-off {backoff(last):g}s restarting failed container={name}"
    state = waiting.get(name) or Waiting("CrashLoopBackOff", message)
    return Container(name, state, _ended(last), **facts)  # type: ignore[arg-type]


def _ended(seen: Seen) -> Ended:
    code = seen.exit_code
    signal = code - _SIGNALLED if _SIGNALLED < code <= _SIGNALLED + _LAST_SIGNAL and seen.reason != "Error" else 0
    finished = seen.finished or seen.started or 0.0
    return Ended(code, finished, seen.started, seen.reason, seen.message, max(signal, 0))
