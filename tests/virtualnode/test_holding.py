"""Two processes with the same node's name: one keeps it, the other waits, and takes it when the first is gone."""

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from tests.virtualnode.test_faults import HASTY, bound, ends, phase, until
from tests.virtualnode.virtual import AT_ONCE

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.errors import Unauthorized
from neaptide.kubeapi.resources import LEASES, NODES, PODS, Resource
from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.holding import NAMESPACE, holding, lease_name
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.providers.simulated import Simulated
from neaptide.virtualnode.running import run

ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
LONG = msgspec.structs.replace(HASTY, held=600)
"""So that a machine that is busy for a while does not lose a node."""
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)


async def holder(client: Client, node: str) -> str:
    lease = msgspec.json.decode(await client.get(LEASES, lease_name(node), NAMESPACE))
    return str(lease["spec"]["holderIdentity"])


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_the_second_process_waits_and_takes_the_node_when_the_first_gives_it_up(
    control_plane: Testbed, namespace: str
) -> None:
    async def talk() -> None:
        one, two = Simulated(AT_ONCE), Simulated(AT_ONCE)
        node = NodeSettings(name="vk-held", provider="simulated")
        async with Client(load(control_plane.kubeconfig), qps=500, burst=500) as client:
            first = asyncio.create_task(run(client, one, [node], identity="first", timing=LONG))
            await client.create(PODS, bound("vk-held", "a"), namespace)
            await ends(client, "a", namespace)
            second = asyncio.create_task(run(client, two, [node], identity="second", timing=LONG))
            await client.create(PODS, bound("vk-held", "b"), namespace)
            await ends(client, "b", namespace)
            assert await holder(client, "vk-held") == "first"
            assert [each.name for each in await two.pods()] == []
            await ended(first)
            await client.create(PODS, bound("vk-held", "c"), namespace)
            await ends(client, "c", namespace)
            assert await holder(client, "vk-held") == "second"
            assert "c" in {each.name for each in await two.pods()}
            await ended(second)
            await client.delete(NODES, "vk-held")

    asyncio.run(talk())


def test_who_loses_a_node_stops_before_it_begins_anew(control_plane: Testbed) -> None:
    """Somebody else's name in the Lease is what a process finds that could not renew it in time."""

    async def talk() -> None:
        log: list[str] = []

        async def work() -> None:
            log.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                log.append("ended")

        async with Client(load(control_plane.kubeconfig)) as client:
            task = asyncio.create_task(holding(client, "vk-lost", "mine", work, seconds=LONG.held))

            async def works() -> bool:
                return bool(log)

            async def works_again() -> bool:
                return len(log) == 3

            await until(works, "it works")
            taken = {"spec": {"holderIdentity": "theirs", "leaseDurationSeconds": 2}}
            await client.patch(LEASES, lease_name("vk-lost"), taken, NAMESPACE)
            await until(works_again, "the other one's Lease has ended")
            assert await holder(client, "vk-lost") == "mine"
            await ended(task)
            assert log == ["begun", "ended", "begun", "ended"]
            assert await holder(client, "vk-lost") != "mine"

    asyncio.run(talk())


def test_what_the_work_raises_is_raised_and_the_node_given_up(control_plane: Testbed) -> None:
    async def work() -> None:
        raise ZeroDivisionError

    async def talk() -> None:
        async with Client(load(control_plane.kubeconfig)) as client:
            with pytest.raises(ZeroDivisionError):
                await holding(client, "vk-raises", "mine", work)
            assert await holder(client, "vk-raises") != "mine"

    asyncio.run(talk())


@pytest.mark.slow
def test_a_token_that_has_expired_is_read_again_and_the_node_goes_on(
    control_plane: Testbed, namespace: str, tmp_path: Path
) -> None:
    """A token can be had for 10 minutes at least; one that is bound to a Secret ends with it."""
    name = f"vk-{namespace}"

    async def token(client: Client, secret: str) -> str:
        await client.create(SECRETS, {"metadata": {"name": secret}}, namespace)
        spec = {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": secret}}
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await client.raw("POST", f"{ACCOUNTS.path(namespace)}/vk/token", body=asked)
        return str(msgspec.json.decode(answer)["status"]["token"])

    async def talk() -> None:
        async with Client(load(control_plane.kubeconfig), qps=500, burst=500) as admin:
            await admin.create(ACCOUNTS, {"metadata": {"name": "vk"}}, namespace)
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
            subject = {"kind": "ServiceAccount", "name": "vk", "namespace": namespace}
            await admin.create(BINDINGS, {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})
            file = tmp_path / "token"
            file.write_text(await token(admin, "one"))
            account = config_of(control_plane, tmp_path, file)
            async with Client(load(account), qps=500, burst=500) as client, Client(load(account)) as other:
                node = NodeSettings(name="vk-token", provider="simulated")
                task = asyncio.create_task(run(client, Simulated(AT_ONCE), [node], timing=HASTY))
                await admin.create(PODS, bound("vk-token", "a"), namespace)
                await ends(admin, "a", namespace)
                await admin.delete(SECRETS, "one", namespace)

                async def expired() -> bool:
                    try:
                        await other.get(NODES, "vk-token")
                    except Unauthorized:
                        return True
                    return False

                await until(expired, "the token is no longer accepted")
                await admin.create(PODS, bound("vk-token", "b"), namespace)
                assert await phase(admin, "b", namespace) == "Pending"
                file.write_text(await token(admin, "two"))
                await ends(admin, "b", namespace)
                await ended(task)
            await admin.delete(NODES, "vk-token")
            await admin.delete(BINDINGS, name)

    asyncio.run(talk())


def config_of(testbed: Testbed, directory: Path, token: Path) -> Path:
    """The testbed's kubeconfig with a token's file in place of the user."""
    config = msgspec.json.decode(testbed.kubeconfig.read_bytes())
    config["users"][0]["user"] = {"tokenFile": str(token)}
    path = directory / "kubeconfig"
    path.write_bytes(msgspec.json.encode(config))
    path.chmod(0o600)
    return path
