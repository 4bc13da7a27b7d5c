"""ElasticQuota on pods: who is held back, and who gives back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node
from tests.placement.cycle.api import PROTECTED, Api, pod

from neaptide.model import objects as o
from neaptide.model.scheduling_objects import (
    ElasticQuota,
    ElasticQuotaSpec,
    PodGroup,
    PodGroupSpec,
    Reservation,
    ReservationOwner,
    ReservationSpec,
    ReservedTemplate,
)
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


def test_room_that_is_kept_for_a_pod_counts_when_the_pod_takes_it_and_once() -> None:
    container = o.Container(name="main", resources=o.Resources(requests={"cpu": "2"}))
    template = ReservedTemplate(spec=o.PodSpec(containers=(container,)))
    owner = ReservationOwner(label_selector=o.LabelSelector({"app": "web"}))
    kept = Reservation(o.Metadata(name="r", uid="r"), ReservationSpec(template, (owner,)))
    api = Api([node("a", cpu="10"), quota("q", "3", "3"), kept])
    api.settle()
    api.apply(pod("web", cpu="2", labels={"app": "web"}))
    api.settle()
    assert api.node_of("web") == "a"
    api.apply(pod("other", cpu="1"), pod("more", cpu="1"))
    api.settle()
    assert sorted(api.nodes_of("other", "more")) == ["", "a"]


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


def under_one_parent(cpu: str = "10") -> list[Any]:
    """A node with more room than the parent quota allows, whose child x has borrowed what y does not use."""
    quotas = [
        quota("top", "4", "4", is_parent="true"),
        quota("x", "2", "4", parent="top"),
        quota("y", "2", "4", parent="top"),
    ]
    return [node("a", cpu=cpu), *quotas, *pods("x", 4)]


@pytest.mark.parametrize("cpu", ["10", "4"], ids=["nodes have room", "nodes are full"])
def test_what_a_child_has_borrowed_under_a_full_parent_is_given_back(cpu: str) -> None:
    api = Api(under_one_parent(cpu))
    api.settle()
    assert len(api.bound) == 4
    api.apply(*pods("y", 3))
    api.settle()
    assert sorted(each.partition("/")[2][0] for each in api.evicted) == ["x", "x"]
    assert sorted(api.nodes_of("y-0", "y-1", "y-2")) == ["", "a", "a"]
    assert "Insufficient quota y of cpu: 2000 used" in api.said["default/y-2"]
    assert not api.over_committed()


def test_under_a_full_parent_one_eviction_serves_quota_and_node() -> None:
    """A pod of no quota would be the least important victim on the full node; but only one of x makes room in both."""
    api = Api([*under_one_parent("5"), pod("none", namespace="other", cpu="1", priority=3000)])
    api.settle()
    api.apply(*pods("y", 1))
    api.settle()
    assert len(api.evicted) == 1
    assert "/x-" in api.evicted[0]
    assert api.node_of("y-0") == "a"


def test_a_pod_too_large_for_one_debtors_room_has_others_go_besides() -> None:
    """Two nodes of two CPUs: a pod of two cannot go where one debtor leaves on each."""
    fixed = [pod(f"prod-{each}", namespace="other", cpu="1", priority=9500) for each in range(2)]
    low = [pod(f"low-{each}", namespace="other", cpu="1", priority=3000) for each in range(2)]
    api = Api([node("a", cpu="4"), node("b", cpu="4"), *under_one_parent()[1:], *fixed, *low])
    api.settle()
    assert len(api.bound) == 8
    large = pod("y-0", cpu="2", labels={PREFIX + "name": "y"}, priority=5500)
    api.apply(large)
    api.settle()
    assert api.node_of("y-0")
    assert len([each for each in api.evicted if "/x-" in each]) == 2
    assert not api.over_committed()


def test_within_a_quota_the_less_important_give_way() -> None:
    api = Api([node("a", cpu="10"), quota("q", "2", "2"), *pods("q", 2)])
    api.settle()
    api.apply(pod("urgent", cpu="1", labels={PREFIX + "name": "q"}, priority=9500))
    api.settle()
    assert len(api.evicted) == 1
    assert api.node_of("urgent") == "a"


def test_a_protected_debtor_stays_and_the_wait_says_so() -> None:
    labels, kept = {PREFIX + "name": "x"}, {PROTECTED: "true"}
    protected = [pod(f"x-{each}", cpu="1", labels=labels, annotations=kept, priority=5500) for each in range(4)]
    api = Api([*under_one_parent()[:-4], *protected])
    api.settle()
    api.apply(*pods("y", 1))
    api.settle()
    assert not api.evicted
    assert "Nobody who could go has more than is theirs" in api.said["default/y-0"]


def test_a_pod_that_never_preempts_takes_nothing_back() -> None:
    api = Api(under_one_parent())
    api.settle()
    api.apply(*pods("y", 1, spec={"preemption_policy": "Never"}))
    api.settle()
    assert not api.evicted
    assert "preemptionPolicy=Never" in api.said["default/y-0"]


def test_a_gang_takes_back_what_all_of_it_needs_or_nothing() -> None:
    group = PodGroup(o.Metadata(name="g", namespace="default"), PodGroupSpec(2))
    both = {PREFIX + "name": "y", "pod-group.scheduling.sigs.k8s.io": "g"}
    api = Api([*under_one_parent(), group])
    api.settle()
    api.apply(*(pod(f"y-{each}", cpu="1", labels=both, priority=5500) for each in range(2)))
    api.settle()
    assert len(api.evicted) == 2
    assert api.nodes_of("y-0", "y-1") == ["a", "a"]


@given(st.data())
def test_no_quota_gives_back_more_than_it_has_borrowed(data: st.DataObject) -> None:
    """Whatever siblings ask for, nobody falls below what is theirs, sums hold, and in the end each has it."""
    count = data.draw(st.integers(2, 4))
    least = [data.draw(st.integers(0, 3)) for _ in range(count)]
    most = str(max(1, sum(least)) + data.draw(st.integers(0, 2)))
    names = [f"q{each}" for each in range(count)]
    quotas = [quota("top", most, most, is_parent="true")]
    quotas += [quota(name, str(each), most, parent="top") for name, each in zip(names, least, strict=True)]
    api = Api([node("a", cpu="100"), *quotas])
    wanted = dict.fromkeys(names, 0)
    for _ in range(data.draw(st.integers(1, 4))):
        name, more = data.draw(st.sampled_from(names)), data.draw(st.integers(1, 6))
        new = range(wanted[name], wanted[name] + more)
        api.apply(*(pod(f"{name}-{each}", cpu="1", labels={PREFIX + "name": name}, priority=5500) for each in new))
        wanted[name] += more
        api.settle()
    has = {
        name: sum(1 for key in api.objects["Pod"] if key.startswith(f"default/{name}-") and api.node_of(key[8:]))
        for name in names
    }
    assert sum(has.values()) <= int(most)
    there = {name: sum(key.startswith(f"default/{name}-") for key in api.objects["Pod"]) for name in names}
    for name, own in zip(names, least, strict=True):
        assert has[name] >= min(own, there[name])
