"""Events: on the object, a series where they repeat, cut off where they flood. And logs without secrets."""

from typing import Any

import pytest
from tests.kube.live import found, job, make, speaking
from tests.testbed.asking import items

from neaptide.kube.events import Events
from neaptide.kube.logs import without_secrets
from neaptide.kubeapi.client import Client
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
