"""The mode spread at a real API server: pods that come at once are counted, by the webhook that lets them in and by another."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from prometheus_client import CollectorRegistry
from tests.kube.test_admission import configuration, temporary, until

from neaptide.admission.pipeline import RuleSetting
from neaptide.admission.virtual_names import INJECTION, UNIT
from neaptide.admission.virtual_nodes import VirtualNodes, VirtualNodesSpec
from neaptide.admission.virtual_units import Known, Unit
from neaptide.kube.admission import Namespaces, Place, serve
from neaptide.kube.units import NEW_FOR, Units
from neaptide.kube.webhook import PATH, Webhook
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import MUTATING_WEBHOOKS, NAMESPACES, PODS

SPREAD = RuleSetting(
    "spread",
    VirtualNodes(),
    VirtualNodesSpec(mode="spread", units=(Unit("real", max=3), Unit("burst", virtual=True, max=2), Unit("rest"))),
)


def pod(**metadata: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "p-", **metadata},
        "spec": {"containers": [{"name": "main", "image": "local.test/none:1"}], "terminationGracePeriodSeconds": 0},
    }


def counted(known: Known) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in known.crowds:
        found[each.labels[UNIT]] += each.old + each.new
    return found


def test_pods_that_come_at_once_fill_the_units_and_leave_room_when_they_go(kubeconfig: Path, namespace: str) -> None:
    async def play() -> None:
        async with Client(load(kubeconfig)) as client, asyncio.TaskGroup() as tasks:
            await client.patch(NAMESPACES, namespace, {"metadata": {"labels": {INJECTION: "enabled"}}})
            units, other = Units(client), Units(client)
            port = asyncio.get_running_loop().create_future()
            webhook = Webhook(Namespaces(client, dict, units.known), CollectorRegistry(), units.admitted)
            webhook.settings = (SPREAD,)
            running = [tasks.create_task(each.run()) for each in (units, other)]
            for each in (units, other):
                each.wanted_by((SPREAD,))
            name = f"units-{namespace}"
            place = Place(namespace=namespace, configuration=name, host="127.0.0.1", port=0, names=("127.0.0.1",))
            running.append(tasks.create_task(serve(client, webhook, place, port.set_result)))
            hooks = configuration(name, namespace, f"https://127.0.0.1:{await port}{PATH}")
            async with temporary(client, MUTATING_WEBHOOKS, hooks):

                async def asked() -> bool:
                    tried = json.loads(await client.create(PODS, pod(), namespace, dry_run=True))
                    return UNIT in tried["metadata"].get("labels", {})

                await until(asked)  # rehearsals, which do not count
                made = [
                    json.loads(each)
                    for each in await asyncio.gather(*(client.create(PODS, pod(), namespace) for _ in range(7)))
                ]
                given = Counter(each["metadata"]["labels"][UNIT] for each in made)
                assert given == {"real": 3, "burst": 2, "rest": 2}

                async def shown() -> bool:
                    found = other.known(namespace).get(VirtualNodes.name)
                    return found is not None and counted(found) == given

                await until(shown)
                real = next(each for each in made if each["metadata"]["labels"][UNIT] == "real")
                await client.delete(PODS, real["metadata"]["name"], namespace)

                async def has_room() -> bool:
                    return counted(other.known(namespace)[VirtualNodes.name])["real"] == 2

                await until(has_room)
            for task in running:
                task.cancel()

    asyncio.run(play())


def test_a_pod_that_was_let_in_counts_until_it_must_be_shown_and_then_no_more(kubeconfig: Path) -> None:
    async def play() -> None:
        now = [1000.0]
        async with Client(load(kubeconfig)) as client, asyncio.TaskGroup() as tasks:
            units = Units(client, clock=lambda: now[0])
            assert units.known("nowhere") == {}
            running = tasks.create_task(units.run())
            units.wanted_by((SPREAD,))

            async def synced() -> bool:
                return bool(units.known("nowhere"))

            await until(synced)
            units.admitted("nowhere", {"metadata": {"labels": {UNIT: "real"}}})
            units.admitted("nowhere", {"metadata": {}})
            assert [dict(each) for each in units.known("nowhere")[VirtualNodes.name].given] == [{UNIT: "real"}]
            assert units.known("elsewhere")[VirtualNodes.name].given == []
            now[0] += NEW_FOR + 1
            assert units.known("nowhere")[VirtualNodes.name].given == []
            running.cancel()

    asyncio.run(play())
