"""The API server is away, frozen or dead, for a while or for two minutes: pods go on, nothing runs twice, nothing is billed twice or lost."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.virtualnode.failing import Counting
from tests.virtualnode.test_faults import HASTY, bound, ends, phase, until

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import NODES, PODS
from neaptide.pricing.tariff_files import shipped
from neaptide.records.ledger import leases_of
from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.running import Accounts, run

NODE = "vk-away"
SHORTLY_HELD = msgspec.structs.replace(HASTY, held=6)
"""So that an absence of some seconds costs the Lease by which a process keeps its node, as one of two minutes does by default."""


@pytest.mark.parametrize(
    ("frozen", "seconds"),
    [
        pytest.param(True, 8.0, id="frozen for a while"),
        pytest.param(False, 8.0, id="dead for a while"),
        pytest.param(True, 120.0, id="frozen for two minutes", marks=pytest.mark.slow),
        pytest.param(False, 120.0, id="dead for two minutes", marks=pytest.mark.slow),
    ],
)
def test_while_the_api_server_is_away_pods_go_on_and_are_billed_once(
    own_control_plane: Testbed, tmp_path: Path, frozen: bool, seconds: float
) -> None:
    testbed, provider, ledger = own_control_plane, Counting(), tmp_path / "ledger"

    async def scene() -> None:
        async with Client(load(testbed.kubeconfig), qps=500, burst=500) as wire:
            node, accounts = NodeSettings(name=NODE, provider=""), Accounts(ledger, shipped("eci"))
            keeping = asyncio.create_task(run(wire, provider, [node], accounts=accounts, timing=SHORTLY_HELD))
            async with Client(load(testbed.kubeconfig), qps=500, burst=500) as client:
                await begin(client)
            await away()
            async with Client(load(testbed.kubeconfig), qps=500, burst=500) as client:
                await go_on(client)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def begin(client: Client) -> None:
        await client.create(PODS, bound(NODE, "ends", "2"), "default")
        await client.create(PODS, bound(NODE, "stays", None), "default")
        for name in ("ends", "stays"):
            await until(lambda name=name: is_in(client, name, "Running"), f"{name} runs")  # type: ignore[misc]
        await until(two_leases, "both are in the ledger")

    async def away() -> None:
        (testbed.freeze if frozen else testbed.kill)("kube-apiserver")
        await asyncio.sleep(seconds)
        await until(one_has_ended, "a pod has ended meanwhile")
        await asyncio.to_thread(testbed.thaw if frozen else testbed.restart, "kube-apiserver")

    async def go_on(client: Client) -> None:
        await ends(client, "ends", "default")
        await client.create(PODS, bound(NODE, "new"), "default")
        await ends(client, "new", "default")
        await until(lambda: is_ready(client), "the node is Ready again")
        assert await phase(client, "stays", "default") == "Running"
        await until(settled, "the ledger says who has ended, and who has not")

    async def is_in(client: Client, name: str, wanted: str) -> bool:
        return await phase(client, name, "default") == wanted

    async def is_ready(client: Client) -> bool:
        node: dict[str, Any] = msgspec.json.decode(await client.get(NODES, NODE))
        return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])

    async def two_leases() -> bool:
        return len(leases_of(ledger)) == 2

    async def settled() -> bool:
        ended = {each.opened.pod: each.ended is not None for each in leases_of(ledger).values()}
        return ended == {"ends": True, "stays": False, "new": True}

    async def one_has_ended() -> bool:
        return any(each.stopped for each in await provider.pods())

    asyncio.run(scene())
    assert sorted(provider.begun.values()) == [1, 1, 1]
    assert len(leases_of(ledger)) == 3
