"""The watch cache: whatever the order, the snapshot is that of the objects that are there; what cannot be used is said."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.builders import node, pod
from tests.kube.seen import encoded, seen

from neaptide.kube.cache import Cache
from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.build import build
from neaptide.model.manifests import Found, from_json
from neaptide.model.renewal import renewed, weight

KINDS = ("Node", "Pod", "Deployment", "ReplicaSet", "PriorityClass", "PodDisruptionBudget", "Namespace")
Key = tuple[str, str]


def owned(kind: str, name: str, by: tuple[str, str] | None, **spec: Any) -> o.Workload:
    owners = () if by is None else (o.OwnerReference(kind=by[0], name=by[1], controller=True),)
    return o.Workload(kind, o.Metadata(name, "default", owner_references=owners), o.WorkloadSpec(**spec))


def of_kind(key: Key, draw: st.DrawFn) -> AnyObject:
    """Some version of the object of that name, now and then one that cannot be used."""
    kind, name = key
    version = str(draw(st.integers(1, 10**6)))
    item: AnyObject
    match kind:
        case "Node":
            item = node(
                name, cpu=draw(st.sampled_from(["4", "8", "many"])), labels={"zone": draw(st.sampled_from("ab"))}
            )
        case "Pod":
            item = pod(
                name,
                node=draw(st.sampled_from(["", "node-0", "node-1", "node-2", "gone"])),
                cpu=draw(st.sampled_from(["1", "250m", "no"])),
                phase=draw(st.sampled_from(["Running", "Succeeded"])),
                labels={"app": draw(st.sampled_from(["web", "batch"]))},
                owner=draw(st.sampled_from([None, ("ReplicaSet", "set-0")])),
                spec={"priority_class_name": "high"} if draw(st.booleans()) else {"priority": 7},
            )
        case "Deployment":
            item = owned(kind, name, None, replicas=draw(st.integers(0, 3)))
        case "ReplicaSet":
            item = owned(kind, name, draw(st.sampled_from([None, ("Deployment", "deployment-0")])))
        case "PriorityClass":
            item = o.PriorityClass(o.Metadata(name=name), value=draw(st.integers(-5, 5)))
        case "PodDisruptionBudget":
            item = o.PodDisruptionBudget(o.Metadata(name, "default"), o.DisruptionBudgetSpec(min_available=1))
        case _:
            item = o.Namespace(o.Metadata(name=name, labels={"team": draw(st.sampled_from("xy"))}))
    meta = replace(item.metadata, resource_version=version)
    return replace(item, metadata=meta)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Key, AnyObject | None]]:
    """What happens to some objects, in any order; None is a removal."""
    names = [(kind, f"{kind.lower()}-{number}") for kind in KINDS for number in range(3)]
    names += [("ReplicaSet", "set-0"), ("PriorityClass", "high")]
    keys = draw(st.lists(st.sampled_from(names), max_size=40))
    return [(key, of_kind(key, draw) if draw(st.integers(0, 4)) else None) for key in keys]


def told(
    cache: Cache,
    history: list[tuple[Key, AnyObject | None]],
    *,
    held: bool = False,
    renewals: frozenset[int] = frozenset(),
) -> dict[Key, AnyObject]:
    """Tell a cache a history after empty first lists, its snapshot renewed before some of the changes; what is there at the end."""
    there: dict[Key, AnyObject] = {}
    for kind in KINDS:
        cache.list_begins(kind)
        cache.list_ends(kind)
    with cache.held() if held else nullcontext():
        for number, (key, item) in enumerate(history):
            if number in renewals:
                cache.snapshot = renewed(cache.snapshot)
            if item is not None:
                cache.put(key[0], encoded(item))
                there[key] = item
            elif key in there:
                cache.remove(key[0], encoded(there.pop(key)))
    with cache.held():
        pass
    return there


def built(there: dict[Key, AnyObject]) -> tuple[dict[str, Any], set[str]]:
    """What `build` makes of the objects that are there, and the names of those that it leaves out."""
    found: list[Found] = []
    for item in there.values():
        found += from_json(encoded(replace(item, kind=item.kind)) if isinstance(item, o.Workload) else named(item), "")[
            0
        ]
    snapshot, left_out = build(found)
    return seen(snapshot), {each.object for each in left_out}


def named(item: AnyObject) -> bytes:
    return b'{"kind":"%s",' % type(item).__name__.encode() + encoded(item)[1:]


@given(histories(), st.booleans(), st.frozensets(st.integers(0, 40), max_size=4))
@settings(max_examples=300)
def test_any_history_gives_the_snapshot_that_is_built_from_what_is_there_at_its_end(
    history: list[tuple[Key, AnyObject | None]], held: bool, renewals: frozenset[int]
) -> None:
    cache = Cache(KINDS)
    there = told(cache, history, held=held, renewals=frozenset() if held else renewals)
    snapshot, left_out = built(there)
    assert seen(cache.snapshot) == snapshot
    assert {each.object for each in cache.left_out()} == left_out


@given(histories(), histories())
@settings(max_examples=100)
def test_a_relist_drops_what_it_does_not_name(
    before: list[tuple[Key, AnyObject | None]], after: list[tuple[Key, AnyObject | None]]
) -> None:
    cache = Cache(KINDS)
    told(cache, before)
    there = {key: item for key, item in after if item is not None}
    for kind in KINDS:
        cache.list_begins(kind)
        page = [encoded(item) for (of, _), item in there.items() if of == kind]
        cache.page(kind, b'{"items":[' + b",".join(page) + b"]}")
        cache.list_ends(kind)
    snapshot, left_out = built(there)
    assert seen(cache.snapshot) == snapshot
    assert {each.object for each in cache.left_out()} == left_out


def test_a_cache_is_not_synced_before_every_stream_is() -> None:
    cache = Cache(("Node", "Pod"))
    for kind in ("Node", "Pod"):
        assert not cache.synced
        cache.list_begins(kind)
        assert not cache.synced
        cache.list_ends(kind)
    assert cache.synced


def test_each_stream_knows_how_long_it_was_silent() -> None:
    now = [100.0]
    cache = Cache(("Node", "Pod"), clock=lambda: now[0])
    cache.heard("Node")
    now[0] = 130.0
    assert cache.ages() == {"Node": 30.0, "Pod": None}
    cache.put("Pod", encoded(pod("web-0")))
    assert cache.ages() == {"Node": 30.0, "Pod": 0.0}


def test_a_held_snapshot_stays_as_it_is_and_gets_everything_at_the_end() -> None:
    cache = Cache(("Node", "Pod"))
    with cache.held() as snapshot:
        cache.put("Node", encoded(node("node-0")))
        cache.put("Pod", encoded(pod("web-0", node="node-0", cpu="1")))
        assert not snapshot.nodes.by_name
    assert cache.snapshot.nodes.used[0, 0] == 1000


def test_what_waited_is_applied_in_order_and_leaves_an_event_loop_its_turn() -> None:
    cache, seen = Cache(("Node", "Pod")), list[int]()

    async def scenario() -> None:
        with cache.held():
            for number in range(1000):
                cache.put("Node", encoded(node(f"node-{number}")))
            cache.remove("Node", encoded(node("node-7")))
        while len(cache.snapshot.nodes.by_name) < 999 or "node-7" in cache.snapshot.nodes.by_name:
            seen.append(len(cache.snapshot.nodes.by_name))
            if len(seen) == 2:  # what comes now has to wait for what came before
                cache.put("Node", encoded(node("node-7", cpu="9")))
                cache.remove("Node", encoded(node("node-7")))
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert len(seen) > 3
    assert seen == sorted(seen)


def test_a_cache_that_is_held_again_shows_everything_that_came_before() -> None:
    cache = Cache(("Node",))

    async def scenario() -> int:
        with cache.held():
            for number in range(1000):
                cache.put("Node", encoded(node(f"node-{number}")))
        with cache.held() as snapshot:
            return len(snapshot.nodes.by_name)

    assert asyncio.run(scenario()) == 1000


BAD: dict[str, tuple[str, bytes, bytes, str]] = {
    "a quantity that is none": ("Pod", encoded(pod("bad", cpu="one")), encoded(pod("bad", cpu="1")), "Pod default/bad"),
    "a number where text belongs": (
        "Node",
        b'{"metadata":{"name":"bad"},"status":{"allocatable":{"cpu":"4"},"conditions":7}}',
        encoded(node("bad")),
        "Node bad",
    ),
    "an effect of a taint that there is not": (
        "Node",
        encoded(node("bad", taints=(o.Taint("a", "b", "NoFun"),))),
        encoded(node("bad")),
        "Node bad",
    ),
}


@pytest.mark.parametrize(("kind", "bad", "mended", "name"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_used_is_left_out_with_a_reason_until_it_is_mended(
    kind: str, bad: bytes, mended: bytes, name: str
) -> None:
    cache = Cache(("Node", "Pod"))
    cache.put(kind, bad)
    cache.put("Node", encoded(node("good")))
    assert list(cache.snapshot.nodes.by_name) == ["good"]
    assert [each.object for each in cache.left_out()] == [name]
    cache.put(kind, mended)
    assert not cache.left_out()
    cache.put(kind, bad)
    assert cache.left_out()
    cache.remove(kind, bad)
    assert not cache.left_out()


def test_owners_that_form_a_cycle_leave_one_out_and_all_are_used_once_it_is_broken() -> None:
    cache = Cache(KINDS)
    first, second = (
        owned("ReplicaSet", "first", ("ReplicaSet", "second")),
        owned("ReplicaSet", "second", ("ReplicaSet", "first")),
    )
    cache.put("ReplicaSet", encoded(first))
    cache.put("ReplicaSet", encoded(second))
    assert len(cache.left_out()) == 1
    cache.put("ReplicaSet", encoded(owned("ReplicaSet", "first", None)))
    with cache.held() as snapshot:
        assert not cache.left_out()
        assert set(seen(snapshot)["workloads"]) == {"ReplicaSet default/first", "ReplicaSet default/second"}


def disrupted(name: str, reason: str) -> o.Pod:
    found = pod(name, node="node-0", phase="Failed")
    return replace(found, status=replace(found.status, conditions=(o.Condition("DisruptionTarget", "True", reason),)))


def test_what_a_node_evicts_is_told_once_and_what_was_asked_for_is_not() -> None:
    cache = Cache(KINDS)
    told(cache, [])
    for _ in range(2):
        cache.put("Pod", encoded(disrupted("pressed", "TerminationByKubelet")))
        cache.put("Pod", encoded(disrupted("asked", "EvictionByEvictionAPI")))
    assert [str(each) for each in cache.disruptions.take()] == ["ReplicaSet default/web"]
    assert cache.disruptions.take() == []


def test_disruptions_from_before_the_first_list_do_not_count() -> None:
    cache = Cache(KINDS)
    cache.list_begins("Pod")
    cache.put("Pod", encoded(disrupted("pressed", "TerminationByKubelet")))
    cache.list_ends("Pod")
    cache.put("Pod", encoded(disrupted("pressed", "TerminationByKubelet")))
    assert cache.disruptions.take() == []


def test_a_thousand_cyclic_owners_do_not_stop_the_others() -> None:
    cache = Cache(KINDS)
    for number in range(1000):
        other = ("ReplicaSet", f"set-{number ^ 1}")
        cache.put("ReplicaSet", encoded(owned("ReplicaSet", f"set-{number}", other)))
    assert len(cache.left_out()) == 500
    for number in range(1000):
        cache.put("Pod", encoded(pod(f"web-{number}")))
    assert len(cache.snapshot.pods.by_key) == 1000


@given(histories())
@settings(max_examples=200)
def test_a_renewed_snapshot_says_what_the_old_one_said_and_keeps_nothing_else(
    history: list[tuple[Key, AnyObject | None]],
) -> None:
    cache = Cache(KINDS)
    told(cache, history)
    old = cache.snapshot
    before, digest = seen(old), old.digest()
    new = renewed(old)
    assert seen(new) == before
    assert weight(new) <= weight(old)
    assert weight(renewed(new)) == weight(new)
    for name in list(new.pods.by_key):
        new.remove_pod(name)
    assert (seen(old), old.digest()) == (before, digest)


def test_jobs_that_come_and_go_leave_nothing_behind() -> None:
    cache = Cache(("Pod", "Job"))
    for kind in cache.streams:
        cache.list_begins(kind)
        cache.list_ends(kind)
    for number in range(30_000):
        name = f"job-{number}"
        work = encoded(owned("Job", name, None))
        one = encoded(pod(f"{name}-x", labels={"job-name": name}, owner=("Job", name), cpu="1"))
        cache.put("Job", work)
        cache.put("Pod", one)
        cache.remove("Pod", one)
        cache.remove("Job", work)
        if number % 1000 == 0:
            with cache.held() as snapshot:
                assert weight(snapshot) < 30_000
