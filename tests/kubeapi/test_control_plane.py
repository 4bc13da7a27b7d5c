"""The client against a real control plane."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.kubeapi.recorded import until

from neaptide.kubeapi import certificates, discovery, errors, lease, resources
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.config import load
from neaptide.kubeapi.credentials import Credentials
from neaptide.kubeapi.keys import Keys
from neaptide.kubeapi.lease import Election
from neaptide.kubeapi.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    LEASES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from neaptide.kubeapi.secret import Secret
from neaptide.kubeapi.watch import Changed, Event, Removed, Synced, changes

Scenario = Callable[[Client], Awaitable[None]]


def run(kubeconfig: Path, scenario: Scenario) -> None:
    async def whole() -> None:
        async with asyncio.timeout(180), Client(load(kubeconfig)) as client:
            await scenario(client)

    asyncio.run(whole())


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **labels: str) -> dict[str, Any]:
    """A pod that no scheduler takes: other tests' nodes may stand in this control plane."""
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "100m"}}}
    spec = {"schedulerName": "none", "containers": [container]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def test_an_object_is_made_read_changed_and_deleted_under_its_preconditions(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        made = json.loads(await client.create(CONFIG_MAPS, config_map("a", x="1"), namespace))
        with pytest.raises(errors.AlreadyExists):
            await client.create(CONFIG_MAPS, config_map("a"), namespace)
        made["data"] = {"x": "2"}
        replaced = json.loads(await client.replace(CONFIG_MAPS, "a", made, namespace))
        with pytest.raises(errors.Conflict):
            await client.replace(CONFIG_MAPS, "a", made, namespace)
        patch = [{"op": "add", "path": "/data/y", "value": "3"}]
        await client.patch(CONFIG_MAPS, "a", patch, namespace, kind=Patch.JSON)
        assert json.loads(await client.get(CONFIG_MAPS, "a", namespace))["data"] == {"x": "2", "y": "3"}
        with pytest.raises(errors.Conflict):
            await client.delete(CONFIG_MAPS, "a", namespace, resource_version=replaced["metadata"]["resourceVersion"])
        await client.delete(CONFIG_MAPS, "a", namespace, uid=made["metadata"]["uid"], dry_run=True)
        await client.delete(CONFIG_MAPS, "a", namespace, uid=made["metadata"]["uid"])
        with pytest.raises(errors.NotFound):
            await client.get(CONFIG_MAPS, "a", namespace)

    run(kubeconfig, scenario)


def test_a_field_of_another_manager_is_a_conflict_that_names_it(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        await client.apply(CONFIG_MAPS, "a", config_map("a", x="1"), namespace)
        async with Client(client.cluster, field_manager="other") as other:
            with pytest.raises(errors.Conflict) as raised:
                await other.apply(CONFIG_MAPS, "a", config_map("a", x="2"), namespace)
            assert [(each.reason, each.field) for each in raised.value.causes] == [("FieldManagerConflict", ".data.x")]
            await other.apply(CONFIG_MAPS, "a", config_map("a", x="2"), namespace, force=True)
        assert json.loads(await client.get(CONFIG_MAPS, "a", namespace))["data"] == {"x": "2"}

    run(kubeconfig, scenario)


def test_a_list_comes_in_pages_and_is_selected(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        for number in range(7):
            await client.create(PODS, pod(f"p{number}", odd=str(number % 2)), namespace)
        pages = [json.loads(page) async for page in client.list(PODS, namespace, limit=3)]
        assert [len(page["items"]) for page in pages] == [3, 3, 1]
        odd = [json.loads(page) async for page in client.list(PODS, namespace, label_selector="odd=1")]
        assert [each["metadata"]["name"] for each in odd[0]["items"]] == ["p1", "p3", "p5"]
        bound = [json.loads(page) async for page in client.list(PODS, namespace, field_selector="spec.nodeName=none")]
        assert bound[0]["items"] == []

    run(kubeconfig, scenario)


def test_a_pod_is_bound_resized_and_evicted_once_its_budget_allows_it(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        node = f"node-of-{namespace}"
        made = json.loads(await client.create(PODS, pod("p", app="p"), namespace))
        uid = made["metadata"]["uid"]
        with pytest.raises(errors.Conflict):
            await client.bind("p", namespace, node, uid="another")
        await client.create(NODES, {"metadata": {"name": node}, "status": {"allocatable": {"cpu": "1", "pods": "9"}}})
        await client.bind("p", namespace, node, uid=uid, annotations={"why": "test"})
        with pytest.raises(errors.Conflict):
            await client.bind("p", namespace, "elsewhere", uid=uid)
        found = json.loads(await client.get(PODS, "p", namespace))
        assert (found["spec"]["nodeName"], found["metadata"]["annotations"]["why"]) == (node, "test")
        smaller = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "50m"}}}]}}
        await client.patch(PODS, "p", smaller, namespace, kind=Patch.STRATEGIC, subresource="resize")
        status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        await client.patch(PODS, "p", status, namespace, kind=Patch.STRATEGIC, subresource="status")
        budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}}
        await client.create(POD_DISRUPTION_BUDGETS, budget, namespace)
        with pytest.raises(errors.DisruptionBudgetExceeded):
            await client.evict("p", namespace, uid=uid)
        await client.delete(POD_DISRUPTION_BUDGETS, "b", namespace)
        with pytest.raises(errors.Conflict):
            await client.evict("p", namespace, uid="another")
        await client.evict("p", namespace, uid=uid, dry_run=True)
        await client.get(PODS, "p", namespace)
        await client.evict("p", namespace, uid=uid, grace_seconds=0)
        with pytest.raises(errors.NotFound):
            await client.evict("p", namespace)
        await client.delete(NODES, node)

    run(kubeconfig, scenario)


def test_a_deployment_is_scaled_by_its_subresource(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": pod("x")["spec"]}
        body = {
            "metadata": {"name": "web"},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }
        await client.create(DEPLOYMENTS, body, namespace)
        await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 2}}, namespace, subresource="scale")
        scale = json.loads(await client.get(DEPLOYMENTS, "web", namespace, subresource="scale"))
        assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 2)

    run(kubeconfig, scenario)


def test_a_watch_tells_what_is_there_and_what_changes(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        await client.create(CONFIG_MAPS, config_map("a"), namespace)
        told: list[Event] = []
        async with aclosing(changes(client, CONFIG_MAPS, namespace=namespace)) as events:
            async for event in events:
                if isinstance(event, Changed | Removed) and msgspec.json.decode(event.raw)["metadata"]["name"] != "a":
                    continue  # kube-root-ca.crt, which every namespace gets
                told.append(event)
                if isinstance(event, Synced):
                    await client.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, namespace)
                    await client.delete(CONFIG_MAPS, "a", namespace)
                if isinstance(event, Removed):
                    break
        names = [type(each).__name__ for each in told]
        assert names[0] == "Relisted"
        assert names[-3:] == ["Synced", "Changed", "Removed"]
        assert "Interrupted" not in names

    run(kubeconfig, scenario)


def test_the_paths_of_the_built_in_resources_are_the_servers(kubeconfig: Path) -> None:
    def is_built_in(group: str) -> bool:
        return "." not in group or (re.fullmatch(r"[a-z]+\.k8s\.io", group) is not None and group != "metrics.k8s.io")

    ours = {each for each in vars(resources).values() if isinstance(each, Resource) and is_built_in(each.group)}

    async def scenario(client: Client) -> None:
        assert ours <= await discovery.served(client)

    run(kubeconfig, scenario)


def test_servers_without_aggregated_discovery_say_the_same(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: Client) -> None:
        monkeypatch.setattr(discovery, "_ACCEPT", "application/json")
        single = await discovery.served(client)
        monkeypatch.undo()

        async def same() -> bool:
            return await discovery.served(client) == single

        await until(same)  # a young server's whole follows its parts after a while

    run(kubeconfig, scenario)


def test_a_token_of_a_service_account_is_told_what_it_may_do(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        assert await discovery.allowed(client, "delete", NODES)
        answer = await client.create(
            SERVICE_ACCOUNTS, {"spec": {"expirationSeconds": 600}}, namespace, name="default", subresource="token"
        )
        token = Secret(json.loads(answer)["status"]["token"].encode())
        cluster = msgspec.structs.replace(client.cluster, credentials=Credentials(token=token))
        async with Client(cluster) as account:
            assert not await discovery.allowed(account, "evict", PODS, namespace, "eviction")
            found = await discovery.rules(account, namespace)
            assert any("selfsubjectaccessreviews" in each.resources for each in found.resource_rules)
            with pytest.raises(errors.Forbidden, match="cannot list resource"):
                [page async for page in account.list(PODS)]

    run(kubeconfig, scenario)


def test_of_two_candidates_one_leads_and_the_other_follows_when_it_gives_up(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        first, second = (
            Election(client, "l", namespace, identity, duration=60, renew=40, retry=0.3) for identity in ("a", "b")
        )
        leader = asyncio.create_task(first.run())
        await first.won()
        follower = asyncio.create_task(second.run())
        await asyncio.sleep(1)
        assert (first.leading, second.leading, second.holder) == (True, False, "a")
        with pytest.raises(errors.LeaseLost):
            await client.guarded_by(second).create(CONFIG_MAPS, config_map("b"), namespace)
        await client.guarded_by(first).create(CONFIG_MAPS, config_map("a"), namespace)
        leader.cancel()
        await second.won()
        assert not first.leading
        lease = json.loads(await client.get(LEASES, "l", namespace))["spec"]
        assert (lease["holderIdentity"], lease["leaseTransitions"]) == ("b", 1)
        follower.cancel()
        await asyncio.gather(leader, follower, return_exceptions=True)

    run(kubeconfig, scenario)


def test_a_leader_that_was_frozen_past_its_lease_changes_nothing(
    kubeconfig: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader whose loop does not run for longer than its lease, as under SIGSTOP: nothing of it runs, but time goes on."""

    async def scenario(client: Client) -> None:
        frozen = Election(client, "l", namespace, "frozen", duration=15)
        seeking = asyncio.create_task(frozen.run())
        await frozen.won()
        guarded = client.guarded_by(frozen)
        woken = lease.clock() + 15.0
        monkeypatch.setattr(lease, "clock", lambda: woken)
        assert not frozen.leading
        with pytest.raises(errors.LeaseLost):
            await guarded.create(CONFIG_MAPS, config_map("late"), namespace)
        seeking.cancel()
        await asyncio.gather(seeking, return_exceptions=True)

    run(kubeconfig, scenario)


def test_of_several_replicas_one_makes_the_certificate_and_all_use_it(kubeconfig: Path, namespace: str) -> None:
    async def scenario(client: Client) -> None:
        names = ["neaptide.system.svc"]
        made = await asyncio.gather(*(certificates.ensure(client, "keys", namespace, names) for _ in range(5)))
        assert all(each == made[0] for each in made)
        seen: list[Keys] = []
        mended = asyncio.Event()

        async def exchange(keys: Keys) -> None:
            seen.append(keys)
            if len(seen) == 2:
                mended.set()

        keeping = asyncio.create_task(certificates.keep(client, "keys", namespace, names, exchange=exchange, every=0.1))
        await until(lambda: bool(seen))
        assert seen == [made[0]]
        await client.patch(SECRETS, "keys", {"data": {"tls.crt": "eA=="}}, namespace)
        await mended.wait()
        assert seen[1] != made[0]
        keeping.cancel()

    run(kubeconfig, scenario)
