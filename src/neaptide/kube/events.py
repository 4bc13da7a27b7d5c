"""Events on the objects that actions are about (events.k8s.io/v1): repeated ones become a series, and a flood is cut off.

`say` never waits; one task writes. An Event is a courtesy: one that cannot be written is counted and forgotten.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from neaptide.kube.acting.carrying import RESOURCES
from neaptide.kube.acting.registry import Method
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import (
    AlreadyExists,
    ApiError,
    ConnectionLost,
    NotFound,
    RateLimited,
    ServerTimeout,
    Unavailable,
)
from neaptide.kubeapi.pace import Backoff
from neaptide.kubeapi.resources import ELASTIC_QUOTAS, EVENTS, POD_GROUPS, POLICIES, RESERVATIONS
from neaptide.model.actions import Outcome, Ref

_SERIES_SECONDS = 360.0  # a repetition after this is a new Event, as client-go has it
_QUIET_SECONDS = 60.0  # a series is written this often at most
_LONGEST_NOTE = 1024
_WAITING = 1000
_KNOWN = 4096
"""How many series are remembered, as client-go has it; of one that is forgotten, a repetition is a new Event."""
_TRIES = 4
_NEGLIGIBLE = 0.01  # seconds; the client's own rate limits what is faster
_UNCERTAIN = (ConnectionLost, ServerTimeout, Unavailable, RateLimited)
_CONTROLLER = "neaptide.io/controller"
_KINDS = {**RESOURCES, **{each.kind: each for each in (POLICIES, ELASTIC_QUOTAS, POD_GROUPS, RESERVATIONS)}}
"""What Events are about, where its version is known."""


class _Series(Struct):
    """One Event and what became of it."""

    name: str
    regarding: Ref
    body: dict[str, Any]
    count: int = 0
    last: float = 0.0
    written: float = 0.0
    stored: bool = False
    queued: bool = False


class Events:
    """The recorder.

    Args:
        client: the wire.
        instance: the name of this process.
        controller: who says it, as `reportingController`.
        per_second: Events written per second in the long run.
        at_once: how many are being written at a time.
        waiting: how many may wait to be written; what is said beyond that is cut off.
        clock: seconds since the epoch.

    Attributes:
        dropped: how many were cut off or could not be written.
    """

    def __init__(
        self,
        client: Client,
        instance: str,
        *,
        controller: str = _CONTROLLER,
        per_second: float = 10.0,
        at_once: int = 1,
        waiting: int = _WAITING,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._instance, self._controller, self._clock = client, instance, controller, clock
        self._at_once, self._pause, self._waiting = at_once, at_once / per_second, waiting
        self._known: dict[tuple[Ref, str, str], _Series] = {}
        self._queue: deque[_Series] = deque()
        self._wake = asyncio.Event()
        self._number = 0
        self.dropped = 0

    def outcome(self, outcome: Outcome, method: Method) -> None:
        """Say what became of an action: what was done with its reason, what was not with why not."""
        action, done = outcome.action, outcome.result == "Done"
        if done and not method.event:
            return
        name = type(action).__name__
        note = f"policy {action.policy}: {action.reason.message}"
        if not done:
            note = f"{outcome.result}: {outcome.reason.message} ({note})"
        self.say(
            action.target,
            reason=method.event if done else f"{name}{outcome.result}",
            note=note,
            action=name,
            warning=not done,
        )

    def say(
        self,
        regarding: Ref,
        *,
        reason: str,
        note: str,
        action: str,
        warning: bool = False,
        related: Ref | None = None,
        once: bool = False,
    ) -> None:
        """Have an Event written soon; `once` where it happens to an object once, whichever process tells of it."""
        now = self._clock()
        key = (regarding, reason, action)
        series = self._known.pop(key, None)
        if series is None or now - series.last > _SERIES_SECONDS:
            series = self._new(regarding, reason, note, action, now, warning=warning, once=once)
            if related is not None:
                series.body["related"] = _reference(related)
        self._known[key] = series  # the latest is last
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        series.count += 1
        series.last = now
        if not series.queued and (not series.stored or now - series.written >= _QUIET_SECONDS):
            if len(self._queue) >= self._waiting:
                self.dropped += 1
                return
            series.queued = True
            self._queue.append(series)
            self._wake.set()

    async def run(self) -> None:
        """Write what is said, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._write_on())

    async def _write_on(self) -> None:
        while True:
            await self.write_waiting()
            self._wake.clear()
            await self._wake.wait()

    async def write_waiting(self) -> None:
        """Write what waits."""
        while self._queue:
            series = self._queue.popleft()
            series.queued = False
            await self._write_surely(series)
            if self._pause > _NEGLIGIBLE:
                await asyncio.sleep(self._pause)

    async def _write_surely(self, series: _Series) -> None:
        """Write, and where what became of that is unknown write again, a few times."""
        backoff = Backoff(0.2, 5.0)
        for left in reversed(range(_TRIES)):
            try:
                await self._write(series)
            except AlreadyExists:  # a try whose answer was lost
                series.stored = True
                return
            except _UNCERTAIN:
                if left:
                    await asyncio.sleep(backoff.next())
            except ApiError:
                break
            else:
                return
        self.dropped += 1

    async def _write(self, series: _Series) -> None:
        namespace = series.regarding.namespace or "default"
        series.written = self._clock()
        if not series.stored:
            await self._client.create(EVENTS, series.body, namespace)
            series.stored = True
            return
        again = {"series": {"count": series.count, "lastObservedTime": _micro(series.last)}}
        try:
            await self._client.patch(EVENTS, series.name, again, namespace)
        except NotFound:  # Events end after an hour
            await self._client.create(EVENTS, {**series.body, "series": again["series"]}, namespace)

    def _new(
        self, regarding: Ref, reason: str, note: str, action: str, now: float, *, warning: bool, once: bool
    ) -> _Series:
        self._number += 1
        end = f"{regarding.uid}.{reason}" if once else f"{int(now * 1e6):x}.{self._number:x}"
        name = f"{regarding.name[:200]}.{end}".lower()
        body = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": regarding.namespace or "default"},
            "eventTime": _micro(now),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "regarding": _reference(regarding),
            "note": note.encode()[:_LONGEST_NOTE].decode(errors="ignore"),
            "type": "Warning" if warning else "Normal",
        }
        return _Series(name, regarding, body)


def _reference(about: Ref) -> dict[str, str]:
    """`v1.ObjectReference`."""
    resource = _KINDS.get(about.kind)
    named = {
        "apiVersion": "" if resource is None else resource.api_version,
        "kind": about.kind,
        "name": about.name,
        "namespace": about.namespace,
        "uid": about.uid,
    }
    return {key: value for key, value in named.items() if value}


def _micro(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
