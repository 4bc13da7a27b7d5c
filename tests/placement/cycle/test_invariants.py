"""What holds of any cluster, whatever happens in whatever order."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
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
from neaptide.placement.cycle.gangs import POD_GROUP_LABEL
from neaptide.placement.cycle.quota_tree import PREFIX

BANDS = (3500, 5500, 7500, 9500)
new_pods = st.fixed_dictionaries(
    {
        "cpu": st.sampled_from(["1", "2", "3"]),
        "priority": st.sampled_from(BANDS),
        "gang": st.sampled_from(["", "", "g", "h"]),
        "quota": st.sampled_from(["", "", "q"]),
        "app": st.sampled_from(["x", "web"]),
        "protected": st.booleans(),
    }
)
steps = st.one_of(
    st.tuples(st.just("add"), new_pods),
    st.tuples(st.just("delete"), st.integers(0, 30)),
    st.tuples(st.just("node"), st.integers(0, 3)),
    st.tuples(st.just("drop node"), st.integers(0, 3)),
    st.tuples(st.just("cordon"), st.integers(0, 3)),
    st.tuples(st.just("foreign"), st.integers(0, 3)),
    st.tuples(st.just("refuse"), st.integers(0, 30)),
    st.tuples(st.just("cycle"), st.integers(0, 400)),
    st.tuples(st.just("half a cycle"), st.integers(0, 5)),
    st.tuples(st.just("restart"), st.just(0)),
)


def start() -> Api:
    groups = [
        PodGroup(o.Metadata(name=name, namespace="default"), PodGroupSpec(least))
        for name, least in (("g", 2), ("h", 3))
    ]
    quota = ElasticQuota(o.Metadata(name="q", namespace="other"), ElasticQuotaSpec({"cpu": "2"}, {"cpu": "6"}))
    container = o.Container(name="main", resources=o.Resources(requests={"cpu": "1"}))
    template = ReservedTemplate(spec=o.PodSpec(containers=(container,)))
    owner = ReservationOwner(label_selector=o.LabelSelector({"app": "web"}))
    kept = Reservation(o.Metadata(name="r", uid="r"), ReservationSpec(template, (owner,), allocate_once=False))
    return Api([node("n0", cpu="4"), node("n1", cpu="3"), *groups, quota, kept])


def made(number: int, wish: dict[str, Any]) -> o.Pod:
    labels = {"app": wish["app"]}
    labels |= {POD_GROUP_LABEL: wish["gang"]} if wish["gang"] else {}
    labels |= {PREFIX + "name": wish["quota"]} if wish["quota"] else {}
    said = {PROTECTED: "true"} if wish["protected"] else {}
    return pod(f"p{number}", cpu=wish["cpu"], priority=wish["priority"], labels=labels, annotations=said)


def take(api: Api, number: int, what: str, value: Any) -> None:
    keys = sorted(api.objects.get("Pod", {}))
    match what:
        case "add":
            api.apply(made(number, value))
        case "delete" if keys:
            api.delete("Pod", keys[value % len(keys)])
        case "node":
            api.apply(node(f"n{value}", cpu="4"))
        case "drop node" if f"n{value}" in api.objects["Node"]:
            api.delete("Node", f"n{value}")
            for key in keys:
                if api.objects["Pod"][key].spec.node_name == f"n{value}":
                    api.delete("Pod", key)
        case "cordon" if f"n{value}" in api.objects["Node"]:
            api.apply(node(f"n{value}", cpu="4", unschedulable=True))
        case "foreign" if f"n{value}" in api.objects["Node"]:
            other = pod(f"foreign{number}", cpu="1")
            spec = replace(other.spec, scheduler_name="default-scheduler", node_name=f"n{value}")
            taken = sum(each.spec.node_name == f"n{value}" for each in api.objects.get("Pod", {}).values())
            if not taken and not any(where == f"n{value}" for where in api.machine.assumed().values()):
                api.apply(o.Pod(other.metadata, spec, o.PodStatus("Running")))
        case "refuse" if keys:
            api.refuse_binds.add(keys[value % len(keys)])
        case "cycle":
            api.cycle(after=float(value))
        case "half a cycle":
            api.lazy = True
            wanted = api.cycle()
            api.lazy = False
            api.carry_out(wanted[:value])
            api.restart()
        case "restart":
            api.restart()
        case _:
            pass


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40))
def test_nothing_is_over_committed_bound_twice_or_lost(script: list[tuple[str, Any]]) -> None:
    api = start()
    for number, (what, value) in enumerate(script):
        take(api, number, what, value)
        assert not api.over_committed()
    for _ in range(3):
        api.settle()
        api.now += 301
    assert not api.over_committed()
    uids = [key for key, _ in api.bound]
    assert len(set(uids)) == len(uids)
    protected = {key for key, each in api.objects.get("Pod", {}).items() if PROTECTED in each.metadata.annotations}
    assert not protected & set(api.evicted)
    for key, each in api.objects.get("Pod", {}).items():
        ours = each.spec.scheduler_name == "neaptide"
        assert not ours or each.spec.node_name or api.said.get(key), f"{key} has neither a node nor a reason"


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=30))
def test_a_scheduler_that_lets_go_of_what_is_unused_goes_on_as_if_it_had_not(script: list[tuple[str, Any]]) -> None:
    apis = start(), start()
    for number, (what, value) in enumerate(script):
        apis[1].renew()
        for api in apis:
            take(api, number, what, value)
        assert apis[1].actions == apis[0].actions
    for api in apis:
        api.settle()
    assert apis[1].actions == apis[0].actions


@settings(max_examples=60, deadline=None)
@given(st.permutations([(gang, each) for gang in "gh" for each in range(3)]), st.integers(3, 5))
def test_two_gangs_that_race_never_hold_room_in_part(order: list[tuple[str, int]], cpus: int) -> None:
    groups = [PodGroup(o.Metadata(name=name, namespace="default"), PodGroupSpec(3)) for name in "gh"]
    api = Api([node("a", cpu=str(cpus)), *groups])
    for gang, number in order:
        api.apply(pod(f"{gang}-{number}", cpu="1", labels={POD_GROUP_LABEL: gang}))
        api.cycle(after=0.5)
    api.settle()
    counts = {gang: sum(f"/{gang}-" in key for key, _ in api.bound) for gang in "gh"}
    assert sorted(counts.values()) == [0, 3]


@settings(max_examples=40, deadline=None)
@given(st.lists(new_pods, min_size=1, max_size=15), st.randoms(use_true_random=False))
def test_the_same_cluster_gets_the_same_plan(wishes: list[dict[str, Any]], rng: Any) -> None:
    plans: list[set[tuple[str, str]]] = []
    for _ in range(2):
        api = start()
        pods = [made(number, wish) for number, wish in enumerate(wishes)]
        if plans:
            rng.shuffle(pods)
        for each in pods:
            api.apply(each)
        api.lazy = True
        plans.append({(each.pod.name, each.node) for each in api.cycle() if isinstance(each, a.Bind)})
    assert plans[0] == plans[1]
