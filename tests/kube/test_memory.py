"""The checkpoint: what one leader saved is what the next one plans from."""

import asyncio
import json
import random

import pytest
from tests.kube.live import found, speaking
from tests.testbed.asking import done, items

from neaptide.kube import recovery
from neaptide.kube.memory import LostMemoryError, MemoryStore, SupersededError
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import CONFIG_MAPS
from neaptide.loop import LoopMemory
from neaptide.model.actions import Evict, Reason, Ref, Resume, Suspend
from neaptide.model.objects import Metadata, Workload, WorkloadSpec
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.testbed.cluster import Testbed

LARGE = random.Random(1).randbytes(2_500_000)
PARTS = {"arbiter": b'{"owners":{}}', "policy reclaim": LARGE, "policy time-windows": b"{}"}


def names(testbed: Testbed, namespace: str) -> set[str]:
    return {
        each["metadata"]["name"] for each in items(testbed, "configmaps", "-n", namespace, "-l", "neaptide.io/memory")
    }


def test_what_is_saved_is_loaded_however_large_it_is(control_plane: Testbed, namespace: str) -> None:
    async def ask(client: Client) -> dict[str, bytes]:
        assert await MemoryStore(client, namespace, "first").load() == {}
        await MemoryStore(client, namespace, "first").save(PARTS)
        return await MemoryStore(client, namespace, "second").load()

    assert speaking(control_plane, ask) == PARTS
    sizes = [len(json.dumps(each)) for each in items(control_plane, "configmaps", "-n", namespace)]
    assert max(sizes) < 1.5 * 2**20


def test_only_what_has_changed_is_written_and_nothing_old_stays(control_plane: Testbed, namespace: str) -> None:
    async def save(client: Client) -> None:
        store = MemoryStore(client, namespace, "first")
        await store.load()
        await store.save(PARTS)
        await store.save(PARTS | {"arbiter": b'{"owners":{"a":["b",1]}}'})

    speaking(control_plane, save)
    before = names(control_plane, namespace)
    created = {
        each["metadata"]["name"]: each["metadata"]["uid"]
        for each in items(control_plane, "configmaps", "-n", namespace)
    }

    async def save_again(client: Client) -> None:
        store = MemoryStore(client, namespace, "first")
        parts = await store.load()
        await store.save(parts | {"arbiter": b'{"owners":1}'})

    speaking(control_plane, save_again)
    after = names(control_plane, namespace)
    assert len(before - after) == len(after - before) == 1
    kept = before & after
    assert all(found(control_plane, "configmap", name, namespace)["metadata"]["uid"] == created[name] for name in kept)


def test_who_was_superseded_cannot_save(control_plane: Testbed, namespace: str) -> None:
    async def ask(client: Client) -> dict[str, bytes]:
        frozen, successor = (MemoryStore(client, namespace, name) for name in ("frozen", "successor"))
        await frozen.load()
        await frozen.save({"arbiter": b"1"})
        await successor.load()
        await successor.save({"arbiter": b"2"})
        with pytest.raises(SupersededError):
            await frozen.save({"arbiter": b"3"})
        return await MemoryStore(client, namespace, "next").load()

    assert speaking(control_plane, ask) == {"arbiter": b"2"}


def test_a_memory_with_a_missing_piece_is_lost_and_can_be_replaced(control_plane: Testbed, namespace: str) -> None:
    async def ask(client: Client) -> dict[str, bytes]:
        store = MemoryStore(client, namespace, "first")
        await store.save(PARTS)
        for name in names(control_plane, namespace) - {"neaptide-memory"}:
            await client.delete(CONFIG_MAPS, name, namespace)
        with pytest.raises(LostMemoryError):
            await store.load()
        await store.save({"arbiter": b"{}"})
        return await store.load()

    assert speaking(control_plane, ask) == {"arbiter": b"{}"}


def test_pieces_of_a_process_that_died_while_it_wrote_are_removed(control_plane: Testbed, namespace: str) -> None:
    done(control_plane, "create", "configmap", "neaptide-memory-orphan", "-n", namespace)
    done(
        control_plane,
        "label",
        "configmap",
        "neaptide-memory-orphan",
        "-n",
        namespace,
        "neaptide.io/memory=neaptide-memory",
    )

    async def ask(client: Client) -> None:
        store = MemoryStore(client, namespace, "first")
        await store.load()
        await store.save(PARTS)
        await asyncio.sleep(0)

    speaking(control_plane, ask)
    assert "neaptide-memory-orphan" not in names(control_plane, namespace)


WHY = Reason("Test", "a test wants it")


def deployment(name: str, *, suspended: bool) -> Workload:
    annotations = {"neaptide.io/suspended-replicas": "3"} if suspended else {}
    return Workload("Deployment", Metadata(name, "default", annotations=annotations), WorkloadSpec())


def test_of_an_intent_that_counts_which_the_cluster_shows_as_done() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(deployment("stopped", suspended=True))
    snapshot.set(deployment("going", suspended=False))
    common = {"policy": "test", "reason": WHY}
    actions = [
        kind(**common, target=Ref("Deployment", name, "default"))  # type: ignore[arg-type]
        for kind in (Suspend, Resume)
        for name in ("stopped", "going", "gone")
    ]
    actions.append(Evict(**common, target=Ref("Pod", "gone", "default", "1"), node="n", workload=None))  # type: ignore[arg-type]
    assert [recovery.was_done(each, snapshot) for each in actions] == [True, False, True, False, True, True, True]
    intent = recovery.decode(recovery.encode(100.0, actions[:2]))
    memory = recovery.settled(LoopMemory(), intent, snapshot)
    assert memory.arbiter.switched == {"Deployment default/stopped": 100.0}
