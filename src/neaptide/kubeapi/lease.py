"""Who leads: election over a `coordination.k8s.io/v1` Lease, and the guard of what only the leader may do.

The rules are client-go's: a lease is free when its record has not changed for its duration by one's own clock, so that clocks of two
machines need not agree. A leader counts from before it sent a renewal, a candidate from after it saw one: the leader's lease always ends first.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.pace import Backoff
from neaptide.kubeapi.resources import LEASES

_GIVE_UP_WITHIN = 5.0
"""Seconds that a process on its way out takes for this: where it cannot, the next one waits for the lease to end."""
_log = logging.getLogger(__name__)


class _Meta(Struct, frozen=True, rename="camel", omit_defaults=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Spec(Struct, frozen=True, rename="camel", omit_defaults=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(Struct, frozen=True, rename="camel"):
    metadata: _Meta
    spec: _Spec = _Spec()
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


def this_process() -> str:
    """An identity unlike that of any other process: its host and its number there."""
    return f"{socket.gethostname()}-{os.getpid()}"


def clock() -> float:
    """Seconds that also pass while the machine sleeps, which the monotonic clock of Linux does not count."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Election:
    """A candidate for a Lease. `run` seeks it and keeps it; everything else only looks at the clock.

    Args:
        client: whose requests keep the lease.
        name: of the Lease.
        namespace: of the Lease.
        identity: of this candidate, unlike every other's.
        duration: seconds for which a renewal holds, in whole seconds.
        renew: seconds after a renewal's start until which this process leads, two thirds of the duration by default; what is left of it is for
            requests under way.
        retry: seconds between attempts, with jitter; two fifteenths of the duration by default.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str,
        identity: str,
        *,
        duration: int = 15,
        renew: float | None = None,
        retry: float | None = None,
    ) -> None:
        renew = duration * 2 / 3 if renew is None else renew
        retry = duration * 2 / 15 if retry is None else retry
        if not duration > renew > retry > 0:
            raise ValueError(f"duration > renew > retry > 0 is accepted, not {duration}, {renew}, {retry}")
        self.identity, self.holder = identity, ""
        self._client, self._name, self._namespace = client, name, namespace
        self._duration, self._renew, self._retry = duration, renew, retry
        self._renewed = -float("inf")
        """When the renewal that holds was sent."""
        self._held: _Lease | None = None
        """The lease as this process wrote it last."""
        self._seen: _Lease | None = None
        self._seen_at = -float("inf")
        self._won = asyncio.Event()

    @property
    def leading(self) -> bool:
        """Whether this process may begin something now."""
        return clock() < self._renewed + self._renew

    def remaining(self) -> float:
        """Seconds for which nobody else can have the lease; 0 where it is not held."""
        return max(self._renewed + self._duration - clock(), 0.0)

    def allowance(self) -> float:
        """Seconds that a request may take, for Client.guarded_by: 0 where this process does not lead."""
        return self.remaining() if self.leading else 0.0

    async def won(self) -> None:
        """Wait until this process leads."""
        while not self.leading:
            self._won.clear()
            await self._won.wait()

    async def lost(self) -> None:
        """Wait until this process does not lead any more; what ends a lease before its time is noticed within a second."""
        while (left := self._renewed + self._renew - clock()) > 0:  # noqa: ASYNC110 - it is the clock that is waited for
            await asyncio.sleep(min(left, 1.0))

    async def run(self) -> None:
        """Seek the lease, keep it, seek it again when it was lost; give it up when cancelled. Never ends by itself."""
        backoff = Backoff(self._retry, self._retry)
        try:
            while True:
                led = self.leading
                try:
                    async with asyncio.timeout(self._renew - self._retry):
                        await self._attempt()
                except (errors.ApiError, errors.ConfigError, TimeoutError) as error:
                    _log.warning("lease %s/%s: %s", self._namespace, self._name, error or type(error).__name__)
                self._tell(led)
                await asyncio.sleep(backoff.next())
        finally:
            await self._give_up()

    def _tell(self, led: bool) -> None:
        if self.leading:
            self._won.set()
        if self.leading != led:
            _log.info(
                "lease %s/%s: %s %s",
                self._namespace,
                self._name,
                self.identity,
                "leads" if self.leading else "no longer leads",
            )

    async def _attempt(self) -> None:
        """Renew the lease as it was written last, or look at it and take it where it is free."""
        if self._held is not None:
            try:
                await self._take(self._held)
            except (errors.Conflict, errors.NotFound):
                self._held = None
            else:
                return
        try:
            found = await self._look()
        except errors.NotFound:
            with contextlib.suppress(errors.AlreadyExists):
                await self._take(_Lease(_Meta()))
            return
        if self._is_free(found):
            with contextlib.suppress(errors.Conflict):
                await self._take(found)

    async def _look(self) -> _Lease:
        found = msgspec.json.decode(await self._client.get(LEASES, self._name, self._namespace), type=_Lease)
        if self._seen is None or found.spec != self._seen.spec:
            self._seen, self._seen_at = found, clock()
        self.holder = found.spec.holder_identity or ""
        if self.holder != self.identity:
            self._renewed = -float("inf")
        return found

    def _is_free(self, found: _Lease) -> bool:
        duration = found.spec.lease_duration_seconds or self._duration
        return self.holder in ("", self.identity) or clock() >= self._seen_at + duration

    async def _take(self, found: _Lease) -> None:
        """Write oneself into the lease, which must still be as it was found."""
        before, now = found.spec, datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        stays = before.holder_identity == self.identity
        spec = _Spec(
            self.identity,
            self._duration,
            before.acquire_time if stays else now,
            now,
            (before.lease_transitions or 0) + (not stays and bool(found.metadata.resource_version)),
        )
        sent = clock()
        self._held = await self._write(found, spec)
        self._renewed, self.holder = sent, self.identity

    async def _write(self, found: _Lease, spec: _Spec) -> _Lease:
        metadata = _Meta(self._name, self._namespace, found.metadata.resource_version)
        lease = _Lease(metadata, spec)
        if not metadata.resource_version:
            written = await self._client.create(LEASES, lease, self._namespace)
        else:
            written = await self._client.patch(LEASES, self._name, lease, self._namespace)
        return msgspec.json.decode(written, type=_Lease)

    async def _give_up(self) -> None:
        """Stop leading, then let the next one lead without waiting."""
        held, self._held, self._renewed = self._held, None, -float("inf")
        if held is None:
            return
        spec = msgspec.structs.replace(held.spec, holder_identity="", lease_duration_seconds=1)
        with contextlib.suppress(errors.ApiError, errors.ConfigError, TimeoutError):
            async with asyncio.timeout(_GIVE_UP_WITHIN):
                await self._write(held, spec)
