"""Events: on the object, a series where they repeat, cut off where they flood. And logs without secrets."""

import asyncio
from typing import Any

import pytest
from tests.kube.live import found, job, make, speaking
from tests.testbed.asking import items

from neaptide.kube.events import Events
from neaptide.kube.logs import without_secrets
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import (
    AlreadyExists,
    ApiError,
    ConnectionLost,
    RateLimited,
    ServerTimeout,
    Unavailable,
)
from neaptide.kubeapi.resources import Resource
from neaptide.model.actions import Ref
from neaptide.testbed.cluster import Testbed


def test_events_that_repeat_become_one_series(control_plane: Testbed, namespace: str) -> None:
    make(control_plane, job("crunch"), namespace=namespace)
    uid = found(control_plane, "job", "crunch", namespace)["metadata"]["uid"]
    now = [1_800_000_000.0]

    async def ask(client: Client) -> None:
        events = Events(client, "test", per_second=1000, clock=lambda: now[0])
        for _ in range(5):
            now[0] += 70
            events.say(Ref("Job", "crunch", namespace, uid), reason="Suspended", note="n" * 2000, action="Suspend")
            await events.write_waiting()

    speaking(control_plane, ask)
    told = [
        each
        for each in items(control_plane, "events.events.k8s.io", "-n", namespace)
        if each["reportingController"] == "neaptide.io/controller"
    ]
    assert len(told) == 1
    assert told[0]["series"]["count"] == 5
    assert told[0]["regarding"]["uid"] == uid
    assert len(told[0]["note"]) == 1024


def test_a_flood_of_events_is_cut_off(control_plane: Testbed, namespace: str) -> None:
    async def ask(client: Client) -> int:
        events = Events(client, "test")
        for number in range(1500):
            events.say(Ref("Job", f"job-{number}", namespace), reason="Suspended", note="why", action="Suspend")
        return events.dropped

    assert speaking(control_plane, ask) == 500


class Unsteady:
    """A client that loses some answers, or is refused at first, before it takes what is sent."""

    def __init__(self, *errors: ApiError | None) -> None:
        self.errors, self.created = list(errors), list[str]()

    async def create(self, _: Resource, body: dict[str, Any], namespace: str = "") -> bytes:
        error = self.errors.pop(0) if self.errors else None
        if isinstance(error, ConnectionLost):  # it was done, and the answer is lost
            self.created.append(body["metadata"]["name"])
        if error is not None:
            raise error
        if body["metadata"]["name"] in self.created:
            raise AlreadyExists(409, "AlreadyExists", namespace)
        self.created.append(body["metadata"]["name"])
        return b"{}"


LOST = {
    "nothing": (),
    "an answer": (ConnectionLost(0, "ConnectionLost", "broken"),),
    "two tries": (ServerTimeout(504, "Timeout", "late"), Unavailable(503, "Unavailable", "starting")),
    "priority and fairness": (RateLimited(429, "TooManyRequests", "slow down"),),
}


@pytest.mark.parametrize("errors", LOST.values(), ids=LOST.keys())
def test_no_event_is_lost_while_the_api_server_stumbles(errors: tuple[ApiError, ...]) -> None:
    async def scenario() -> tuple[int, int]:
        client = Unsteady(*errors)
        events = Events(client, "test", per_second=1e6, waiting=20_000)  # type: ignore[arg-type] # as much of a client as it asks
        for number in range(3000):
            about = Ref("Pod", f"p{number}", "default", f"uid-{number}")
            events.say(about, reason="Scheduled", note="assigned", action="Binding")
        await events.write_waiting()
        return len(set(client.created)), events.dropped

    assert asyncio.run(scenario()) == (3000, 0)


def test_what_two_processes_say_of_what_happens_once_is_one_event() -> None:
    async def scenario() -> tuple[int, list[int]]:
        client, about = Unsteady(), Ref("Pod", "p", "default", "uid-1")
        both = [Events(client, name) for name in ("first", "second")]  # type: ignore[arg-type] # as above
        for events in both:
            events.say(about, reason="Scheduled", note="assigned", action="Binding", once=True)
            await events.write_waiting()
        return len(client.created), [each.dropped for each in both]

    assert asyncio.run(scenario()) == (1, [0, 0])


SECRETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a field of that name": ({"token": "abc", "tokens": 3}, {"token": "***", "tokens": "***"}),
    "a header": ({"reason": "Authorization: Bearer abcdefghijkl"}, {"reason": "Authorization: Bearer ***"}),
    "a password in a URL": ({"url": "http://me:pass@host/x"}, {"url": "http://***@host/x"}),
    "a web token": ({"event": "got eyJhbGciOiJS.eyJpc3Mi.c2ln"}, {"event": "got ***"}),
    "nothing secret": ({"event": "synced", "nodes": 3}, {"event": "synced", "nodes": 3}),
}


@pytest.mark.parametrize(("event", "logged"), SECRETS.values(), ids=SECRETS.keys())
def test_nothing_secret_is_logged(event: dict[str, Any], logged: dict[str, Any]) -> None:
    assert without_secrets(None, "info", dict(event)) == logged
