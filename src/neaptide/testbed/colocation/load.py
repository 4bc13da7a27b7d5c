"""`python -m neaptide.testbed.colocation.load ADDRESS RATE SECONDS`: an open loop of requests at an even pace; prints latencies in µs as JSON.

A request is sent when it is due, whether or not those before it were answered, and its latency counts from when it was due: a service that stands
still for a while is charged for all that would have been asked meanwhile. Requests that nobody answered are None.
"""

import json
import os
import selectors
import socket
import sys
import time
from collections import deque
from contextlib import suppress

from neaptide.testbed.colocation.programs import PORT, REPLY

CONNECTIONS = 8
_REQUEST = b"GET / HTTP/1.1\r\nHost: service\r\n\r\n"
_LAST = 10.0
"""Seconds for which answers are awaited after the last request."""
_SPIN = 0.0003
"""Seconds before a request is due at which sleeping ends: timers are late by some 50 µs."""


class _Connection:
    def __init__(self, address: str) -> None:
        self.socket = socket.create_connection((address, PORT), timeout=_LAST)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.waiting: deque[int] = deque()
        self.received = 0

    def send(self, number: int) -> None:
        self.waiting.append(number)
        with suppress(BlockingIOError):
            self.socket.send(_REQUEST)

    def answered(self) -> list[int]:
        """The requests whose answers have come."""
        self.received += len(self.socket.recv(65536))
        whole, self.received = divmod(self.received, len(REPLY))
        return [self.waiting.popleft() for _ in range(whole)]


def latencies(address: str, rate: float, seconds: float) -> list[int | None]:
    """In µs, in the order in which requests were due."""
    connections = [_Connection(address) for _ in range(CONNECTIONS)]
    events = selectors.DefaultSelector()
    for connection in connections:
        events.register(connection.socket, selectors.EVENT_READ, connection)
    count = int(rate * seconds)
    found: list[int | None] = [None] * count
    began = time.monotonic() + 0.05
    sent = answered = 0
    while answered < count and time.monotonic() < began + seconds + _LAST:
        due = began + sent / rate if sent < count else began + seconds + _LAST
        wait = due - time.monotonic() - _SPIN
        for key, _ in events.select(max(wait, 0.0)):
            now = time.monotonic()
            for number in key.data.answered():
                found[number] = round((now - began - number / rate) * 1e6)
                answered += 1
        while sent < count and time.monotonic() >= began + sent / rate:
            connections[sent % CONNECTIONS].send(sent)
            sent += 1
    events.close()
    for connection in connections:
        connection.socket.close()
    return found


def main(address: str, rate: str, seconds: str) -> None:
    with suppress(OSError):  # without the right to it, it is as others are
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    sys.stdout.write(json.dumps(latencies(address, float(rate), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
