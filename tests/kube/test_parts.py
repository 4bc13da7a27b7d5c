"""The parts of the controller that never end by themselves: one that does ends the process, which is then started anew."""

import asyncio
import socket

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.kubeapi.recorded import serving, status

from neaptide.kube.admission import Admission, Place
from neaptide.kube.controller import Controller, Options
from neaptide.kube.leader import Leader
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.lease import Election
from neaptide.testbed.cluster import Testbed


def test_a_webhook_that_cannot_listen_ends_the_process_though_the_lease_is_never_lost(
    control_plane: Testbed, namespace: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = Place(namespace=namespace, host="127.0.0.1", port=taken.getsockname()[1])
        controller = Controller(load(control_plane.kubeconfig), Options(namespace=namespace, webhook=place))

        async def run() -> None:
            async with asyncio.timeout(180):
                await controller.run()

        with pytest.raises(OSError, match="in use"):
            asyncio.run(run())


def test_an_election_that_breaks_ends_the_process_of_a_candidate(
    control_plane: Testbed, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Election) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Election, "run", broken)

    async def run() -> None:
        async with asyncio.timeout(180):
            await Controller(load(control_plane.kubeconfig), Options(namespace=namespace)).run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())


def test_a_cycle_that_fails_for_whatever_reason_is_followed_by_the_next(
    control_plane: Testbed, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0

    async def run() -> None:
        controller = Controller(load(control_plane.kubeconfig), Options(namespace=namespace, interval=0.05))

        async def stumbling(_: Leader) -> None:
            nonlocal begun
            begun += 1
            if begun == 1:
                raise ZeroDivisionError
            controller.stop()

        monkeypatch.setattr(Leader, "cycle", stumbling)
        async with asyncio.timeout(180):
            await controller.run()

    asyncio.run(run())
    assert begun == 2


def test_an_api_server_without_admission_policies_is_not_asked_again_every_second() -> None:
    async def play() -> int:
        async def unserved(_: web.BaseRequest) -> web.StreamResponse:
            return status(404, "NotFound", "the server could not find the requested resource")

        async with serving(unserved) as server, Client(server.cluster) as client:
            admission = Admission(
                client,
                client,
                policies=list,
                others=lambda _: {},
                registry=CollectorRegistry(),
                place=None,
                in_cel=True,
                leading=lambda: True,
            )
            task = asyncio.create_task(admission.run())
            await asyncio.sleep(2.5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return len(server.requests)

    assert asyncio.run(play()) == 1
