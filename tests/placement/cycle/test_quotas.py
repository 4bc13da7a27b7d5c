"""ElasticQuota on pods: who is held back, and who gives back."""

import json
from typing import Any

import pytest
from tests.builders import node
from tests.placement.cycle.api import Api, pod

from neaptide.model import objects as o
from neaptide.model.scheduling_objects import ElasticQuota, ElasticQuotaSpec
from neaptide.placement.cycle import actions as a
from neaptide.placement.cycle.quota_tree import PREFIX


def quota(name: str, least: str, most: str, **extra: Any) -> ElasticQuota:
    labels = {PREFIX + key.replace("_", "-"): value for key, value in extra.items()}
    meta = o.Metadata(name=name, namespace="default", labels=labels, annotations=extra.pop("annotations", {}))
    return ElasticQuota(meta, ElasticQuotaSpec({"cpu": least}, {"cpu": most}))


def pods(of: str, count: int, **extra: Any) -> list[o.Pod]:
    labels = {PREFIX + "name": of}
    return [pod(f"{of}-{each}", cpu="1", labels=labels, priority=5500, **extra) for each in range(count)]


def test_a_quota_is_held_to_its_maximum() -> None:
    api = Api([node("a", cpu="10"), quota("q", "2", "3"), *pods("q", 5), pod("free", namespace="other", cpu="1")])
    api.settle()
    assert len([key for key, _ in api.bound if "/q-" in key]) == 3
    assert ("other/free", "a") in api.bound
    assert "Insufficient quota q of cpu: 3000 used, 1000 wanted, 3000 allowed now" in api.said["default/q-4"]


def test_what_others_do_not_use_may_be_borrowed_and_is_given_back() -> None:
    api = Api([node("a", cpu="4"), quota("x", "2", "4"), quota("y", "2", "4"), *pods("x", 4)])
    api.settle()
    assert len(api.bound) == 4
    api.apply(*pods("y", 2))
    api.settle()
    assert len(api.evicted) == 2
    assert all("/x-" in each for each in api.evicted)
    assert api.nodes_of("y-0", "y-1") == ["a", "a"]
    assert not api.over_committed()


def test_nothing_is_taken_back_from_a_higher_band() -> None:
    prod = [pod(f"x-{each}", cpu="1", labels={PREFIX + "name": "x"}, priority=9500) for each in range(4)]
    api = Api([node("a", cpu="4"), quota("x", "2", "4"), quota("y", "2", "4"), *prod])
    api.settle()
    api.apply(*pods("y", 2))
    api.settle()
    assert not api.evicted


def test_pods_that_a_quota_says_are_not_preemptible_stay() -> None:
    kept = [
        pod(f"x-{each}", cpu="1", labels={PREFIX + "name": "x", PREFIX + "preemptible": "false"}) for each in range(4)
    ]
    api = Api([node("a", cpu="4"), quota("x", "2", "4"), quota("y", "2", "4"), *kept])
    api.settle()
    api.apply(*(pod(f"y-{each}", cpu="1", labels={PREFIX + "name": "y"}) for each in range(2)))
    api.settle()
    assert not api.evicted


def test_a_parent_limits_its_children_together() -> None:
    quotas = [
        quota("top", "4", "4", is_parent="true"),
        quota("x", "1", "3", parent="top"),
        quota("y", "1", "3", parent="top"),
    ]
    api = Api([node("a", cpu="10"), *quotas, *pods("x", 3), *pods("y", 3)])
    api.settle()
    assert sorted(key[8] for key, _ in api.bound) == ["x", "x", "y", "y"]


@pytest.mark.parametrize(
    ("quotas", "reason"),
    [
        ([quota("q", "1", "3", parent="r"), quota("r", "1", "3", parent="q")], "its parents lead back to itself"),
        ([quota("q", "4", "3")], "spec.max[cpu] is below spec.min"),
        ([quota("q", "1", "3", parent="gone")], "its parent gone is not there"),
        ([quota("q", "1", "many")], "'many' is not accepted"),
        ([], "ElasticQuota q not found"),
        (
            [quota("q", "1", "3"), quota("c", "2", "3", parent="q")],
            "the children's spec.min[cpu] exceed its own in sum",
        ),
    ],
    ids=["a cycle", "max below min", "no parent", "malformed", "missing", "children above their parent"],
)
def test_a_quota_that_makes_no_sense_refuses_its_pods_with_the_reason(quotas: list[ElasticQuota], reason: str) -> None:
    api = Api([node("a", cpu="10"), quota("other", "1", "2"), *quotas, *pods("q", 1)])
    api.settle()
    assert reason in api.said["default/q-0"]
    if quotas:
        assert any(reason in each.message for each in api.actions if isinstance(each, a.Emit))


def test_a_quotas_use_and_runtime_are_reported() -> None:
    api = Api([node("a", cpu="10"), quota("q", "2", "3"), *pods("q", 2)])
    api.settle()
    said = [each for each in api.actions if isinstance(each, a.SetQuota)][-1]
    assert said.used == {"cpu": "2000m"}
    assert json.loads(said.annotations[PREFIX + "runtime"]) == {"cpu": "2000m"}


def test_a_quota_of_a_namespace_holds_its_pods_without_a_label() -> None:
    api = Api([node("a", cpu="10"), quota("q", "1", "1"), pod("one", cpu="1"), pod("two", cpu="1")])
    api.settle()
    assert len(api.bound) == 1


def test_room_in_a_quota_wakes_those_that_wait_for_it() -> None:
    api = Api([node("a", cpu="10"), quota("q", "1", "1"), *pods("q", 2)])
    api.settle()
    api.delete("Pod", api.bound[0][0])
    api.cycle(after=1.0)
    assert len(api.bound) == 2
