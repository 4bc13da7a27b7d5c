"""Faults on the way to a real API server, as clients meet them."""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.testbed.asking import done, refused

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.components import Site
from neaptide.testbed.faults import Fault
from neaptide.testbed.proxy import Proxy

NODES = "/api/v1/nodes"
Call = Callable[[aiohttp.ClientSession, Proxy], Awaitable[None]]


@asynccontextmanager
async def client(site: Site, *, user: str = "admin", token: str = "") -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a user's certificate, or else a token."""
    context = ssl.create_default_context(cafile=site.pki("ca.crt"))
    if not token:
        context.load_cert_chain(site.pki(f"{user}.crt"), site.pki(f"{user}.key"))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context), headers=headers, timeout=aiohttp.ClientTimeout(total=60)
    ) as session:
        yield session


def through(testbed: Testbed, call: Call, *faults: Fault) -> None:
    """Run a client's calls through a proxy with these faults."""

    async def run() -> None:
        async with Proxy(testbed.site, faults) as proxy, client(testbed.site) as session:
            await call(session, proxy)

    asyncio.run(run())


async def get(session: aiohttp.ClientSession, proxy: Proxy, path: str = NODES) -> tuple[int, bytes]:
    async with session.get(proxy.address + path) as response:
        return response.status, await response.read()


def configmap(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def test_without_a_fault_kubectl_finds_the_cluster_as_it_is(testbed: Testbed, namespace: str) -> None:
    async def call(_: aiohttp.ClientSession, proxy: Proxy) -> None:
        kubeconfig = f"--kubeconfig={proxy.kubeconfig}"
        manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", **configmap("made")})
        await asyncio.to_thread(done, testbed, kubeconfig, "apply", "-n", namespace, "-f", "-", content=manifest)
        named = await asyncio.to_thread(done, testbed, kubeconfig, "get", "configmap", "-n", namespace, "-o", "name")
        assert "configmap/made" in named
        assert "neaptide-testbed" in await asyncio.to_thread(done, testbed, kubeconfig, "config", "current-context")

    through(testbed, call)


def test_the_server_sees_as_whom_the_client_came_and_not_as_whom_it_says(testbed: Testbed) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    async def whoami(proxy: Proxy, **as_whom: str) -> tuple[str, set[str]]:
        async with client(testbed.site, **as_whom) as session:
            path = f"{proxy.address}/apis/authentication.k8s.io/v1/selfsubjectreviews"
            async with session.post(path, json=review, headers={"X-Remote-User": "somebody"}) as response:
                found = (await response.json())["status"]["userInfo"]
        return found["username"], set(found["groups"])

    async def call(_: aiohttp.ClientSession, proxy: Proxy) -> None:
        assert await whoami(proxy) == ("admin", {"system:masters", "system:authenticated"})
        assert (await whoami(proxy, user="scheduler"))[0] == "system:kube-scheduler"
        token = await asyncio.to_thread(done, testbed, "create", "token", "default", "-n", "default")
        assert (await whoami(proxy, token=token.strip()))[0] == "system:serviceaccount:default:default"

    through(testbed, call)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (Fault(answer=429, retry_after=3), 429, b"Too many requests, please try again later."),
        (Fault(answer=503, retry_after=3), 503, b'"reason": "ServiceUnavailable"'),
        (Fault(answer=410, retry_after=3), 410, b'"reason": "Expired"'),
    ],
    ids=["too many requests", "unavailable", "expired"],
)
def test_an_answer_in_the_servers_place(testbed: Testbed, fault: Fault, status: int, words: bytes) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        async with session.get(proxy.address + NODES) as response:
            assert response.status == status
            assert response.headers["Retry-After"] == "3"
            assert words in await response.read()
        async with session.post(proxy.address + "/api/v1/namespaces", data=b"{}" * 100_000) as response:
            assert response.status == status
        proxy.set()
        assert (await get(session, proxy))[0] == 200
        assert proxy.struck == 2

    through(testbed, call, fault)


def test_a_watch_that_is_told_its_version_expired_hears_of_it_in_an_event(testbed: Testbed) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        status, body = await get(session, proxy, f"{NODES}?watch=true&resourceVersion=1")
        event = json.loads(body)
        assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)

    through(testbed, call, Fault(answer=410))


def test_a_fault_strikes_what_it_names_so_many_times(testbed: Testbed) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        assert (await get(session, proxy, "/api/v1/pods"))[0] == 200
        assert [(await get(session, proxy))[0] for _ in range(4)] == [503, 503, 200, 200]
        async with session.post(proxy.address + NODES, json={}) as response:
            assert response.status == 429

    faults = (
        Fault(methods=frozenset({"GET"}), path="/nodes", answer=503, times=2),
        Fault(methods=frozenset({"POST"}), answer=429),
    )
    through(testbed, call, *faults)


def test_a_chance_strikes_some(testbed: Testbed) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        statuses = [(await get(session, proxy, "/version"))[0] for _ in range(60)]
        assert set(statuses) == {200, 503}
        assert statuses.count(503) == proxy.struck

    through(testbed, call, Fault(answer=503, chance=0.5))


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("fault", "kept"),
    [({"drop": True}, False), ({"cut_bytes": 0}, True), ({"cut_bytes": 100}, True)],
    ids=["before the server hears", "after it did as asked", "within its answer"],
)
def test_a_connection_ends(testbed: Testbed, namespace: str, fault: dict[str, Any], kept: bool, reset: bool) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        path = f"{proxy.address}/api/v1/namespaces/{namespace}/configmaps"
        with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
            async with session.post(path, json=configmap("maybe")) as response:
                await response.read()
        found = await asyncio.to_thread(done, testbed, "get", "configmap", "-n", namespace, "-o", "name")
        assert ("configmap/maybe" in found) is kept

    through(testbed, call, Fault(methods=frozenset({"POST"}), reset=reset, **fault))


def test_a_watch_is_cut_at_every_event(testbed: Testbed, namespace: str) -> None:
    path, names = f"/api/v1/namespaces/{namespace}/configmaps", ["a", "b", "c"]

    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        _, body = await get(session, proxy, path)
        version = json.loads(body)["metadata"]["resourceVersion"]
        seen: list[str] = []
        for name in names:
            async with session.post(proxy.address + path, json=configmap(name)) as response:
                assert response.status == 201
        while len(seen) < len(names):
            async with session.get(f"{proxy.address}{path}?watch=1&resourceVersion={version}") as response:
                found = json.loads(await response.content.readline())["object"]["metadata"]
                version = found["resourceVersion"]
                with pytest.raises(aiohttp.ClientError):
                    await response.content.readline()
            if found["name"] in names:  # else the one that every namespace gets
                seen.append(found["name"])
        assert seen == names
        assert proxy.struck >= len(seen)

    through(testbed, call, Fault(path="watch=1", cut_events=1))


def test_a_connection_that_becomes_a_websocket_goes_through(testbed: Testbed) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        async with session.ws_connect(f"{proxy.address}{NODES}?watch=1", origin=proxy.address) as socket:
            assert (await socket.receive_json())["type"] == "ADDED"

    through(testbed, call)


def test_an_answer_comes_slowly_and_whole(testbed: Testbed) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        loop = asyncio.get_running_loop()
        _, whole = await get(session, proxy, "/openapi/v3/version")
        proxy.set(Fault(bytes_per_second=4 * len(whole), delay=0.1))
        began = loop.time()
        assert (await get(session, proxy, "/openapi/v3/version"))[1] == whole
        assert loop.time() - began > 0.2  # no sooner: a tenth before it starts, and a quarter at this rate

    through(testbed, call)


def test_bytes_that_are_held_come_once_they_are_released(testbed: Testbed) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        proxy.hold()
        waiting = asyncio.create_task(get(session, proxy))
        done_in_time, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done_in_time
        proxy.release()
        assert (await waiting)[0] == 200

    through(testbed, call)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_open_watches_are_cut_on_demand(testbed: Testbed, reset: bool) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        async with session.get(f"{proxy.address}{NODES}?watch=1") as response:
            await response.content.readline()
            assert proxy.cut(reset=reset) == 1
            with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
                await response.read()

    through(testbed, call)


def test_kubectl_tells_of_a_server_that_does_not_answer(testbed: Testbed) -> None:
    async def call(_: aiohttp.ClientSession, proxy: Proxy) -> None:
        kubeconfig = f"--kubeconfig={proxy.kubeconfig}"
        said = await asyncio.to_thread(refused, testbed, kubeconfig, "get", "nodes", "--v=0")
        assert "unable to handle the request" in said or "unavailable" in said.lower()

    through(testbed, call, Fault(answer=503))


def test_what_is_no_http_ends_the_connection_and_harms_nobody(testbed: Testbed) -> None:
    async def call(session: aiohttp.ClientSession, proxy: Proxy) -> None:
        context = ssl.create_default_context(cafile=testbed.site.pki("ca.crt"))
        port = int(proxy.address.rsplit(":", 1)[1])
        for noise in (
            b"\x00\x01\r\n\r\n",
            b"GET /\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            struct.pack("64x"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(noise)
            writer.write_eof() if writer.can_write_eof() else writer.transport.close()
            await reader.read()
            writer.transport.abort()
        assert (await get(session, proxy))[0] == 200

    through(testbed, call)


def test_the_kubeconfig_goes_with_the_proxy(testbed: Testbed) -> None:
    async def look() -> Path:
        async with Proxy(testbed.site) as proxy:
            assert proxy.kubeconfig.stat().st_mode & 0o777 == 0o600
            return proxy.kubeconfig

    assert not asyncio.run(look()).exists()
