"""What can befall a request on its way to the API server and an answer on its way back."""

import http
import json
import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from msgspec import Struct

REASONS = {
    http.HTTPStatus.CONFLICT: "Conflict",
    http.HTTPStatus.GONE: "Expired",
    http.HTTPStatus.TOO_MANY_REQUESTS: "TooManyRequests",
    http.HTTPStatus.INTERNAL_SERVER_ERROR: "InternalError",
    http.HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
    http.HTTPStatus.GATEWAY_TIMEOUT: "Timeout",
}
"""What can be answered in the API server's place, and the reason that it gives with each."""

_EVENT_END = b"}\n"  # within JSON a line break is written \n, so this stands at the end of a watch's event only
_WATCH = re.compile(r"[?&]watch=(1|true)\b")


class Fault(Struct, frozen=True, kw_only=True):
    """What befalls the requests that match; what is not asked for does not happen.

    Attributes:
        methods: the requests' methods; none: any.
        path: a regular expression, searched for in the path with its query.
        chance: of a request that matches to be struck.
        times: so many requests are struck, and no more.
        delay: seconds before the request goes on.
        drop: the connection ends before the request goes on: the server never hears of it.
        answer: the status (one of `REASONS`) that is answered in the server's place.
        retry_after: seconds that this answer tells to wait.
        bytes_per_second: at which the server's answer goes back.
        cut_bytes: the connection ends after so many bytes of the answer, the head counted; 0: the server did as asked and nobody hears of it.
        cut_events: the connection ends after so many events of a watch in JSON.
        reset: connections that end do so by a TCP reset.
    """

    methods: frozenset[str] = frozenset()
    path: str = ""
    chance: float = 1.0
    times: int | None = None
    delay: float = 0.0
    drop: bool = False
    answer: int | None = None
    retry_after: int | None = None
    bytes_per_second: int | None = None
    cut_bytes: int | None = None
    cut_events: int | None = None
    reset: bool = False


NO_FAULT = Fault()


class Faults:
    """The faults of the moment: the first that matches a request, and is not spent, strikes it."""

    def __init__(self, faults: Sequence[Fault], draws: Random) -> None:
        self._faults = [(fault, re.compile(fault.path)) for fault in faults]
        self._left = [fault.times for fault in faults]
        self._draws = draws

    def strike(self, method: str, target: str) -> Fault | None:
        """What befalls this request, if anything does."""
        for at, (fault, path) in enumerate(self._faults):
            if (fault.methods and method not in fault.methods) or not path.search(target):
                continue
            left = self._left[at]
            if left == 0 or self._draws.random() >= fault.chance:
                continue
            self._left[at] = None if left is None else left - 1
            return fault
        return None


class Cutter:
    """Lets the bytes of one answer through up to where it is to be cut."""

    def __init__(self, fault: Fault) -> None:
        self._bytes = fault.cut_bytes
        self._events = fault.cut_events
        self._last = b""

    def let_through(self, data: bytes) -> tuple[bytes, bool]:
        """What of the data goes on, and whether the answer is cut there."""
        end = len(data) if self._bytes is None else min(len(data), self._bytes)
        cut = self._bytes is not None and self._bytes <= len(data)
        if self._bytes is not None:
            self._bytes -= end
        if self._events is not None:
            after = self._after_events(data[:end])
            if after is not None:
                end, cut = after, True
        return data[:end], cut

    def _after_events(self, data: bytes) -> int | None:
        """Where the last event that may pass ends, if it does in this data."""
        seen, at = self._last + data, 0
        while self._events and (found := seen.find(_EVENT_END, at)) >= 0:
            at = found + len(_EVENT_END)
            self._events -= 1
        over = len(self._last)
        self._last = seen[-1:] if len(seen) > at else b""
        return max(0, at - over) if self._events == 0 else None


class Head(NamedTuple):
    """A head of an answer, and what follows it."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer(fault: Fault, target: str) -> Head:
    """What the API server would say, had it this reason to.

    Its limits of concurrent requests answer 429 in plain text; a watch from a version that is compacted answers 200 and then one event with the error.
    """
    status = http.HTTPStatus(fault.answer or http.HTTPStatus.SERVICE_UNAVAILABLE)
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        headers["Content-Type"] = "text/plain; charset=utf-8"
        return Head(status, headers, b"Too many requests, please try again later.\n")
    headers["Content-Type"] = "application/json"
    told = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": f"a fault of the testbed: {status.phrase}",
        "reason": REASONS[status], "details": {"retryAfterSeconds": fault.retry_after or 0}, "code": int(status),
    }  # fmt: skip
    if status == http.HTTPStatus.GONE and _WATCH.search(target):
        return Head(http.HTTPStatus.OK, headers, json.dumps({"type": "ERROR", "object": told}).encode() + b"\n")
    return Head(status, headers, json.dumps(told).encode())
