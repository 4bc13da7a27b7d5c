"""GPUs given out device by device."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import node
from tests.placement.cycle.api import Api, pod

from neaptide.model import objects as o
from neaptide.model.problems import FieldError
from neaptide.placement.cycle.devices import ALLOCATED, CORE, GPU, MEMORY_RATIO, PRODUCT
from neaptide.placement.cycle.profile import read_cycle_profile

BEST_FIT = read_cycle_profile("plugins: [{name: DeviceShare, policy: BestFit}]")


def machine(name: str, devices: int, **extra: Any) -> o.Node:
    return node(name, cpu="64", resources={GPU: str(devices)}, labels={PRODUCT: "T4"}, **extra)


def share(name: str, hundredths: int, **extra: Any) -> o.Pod:
    amounts: dict[str, Any] = {CORE: str(hundredths), MEMORY_RATIO: str(hundredths)}
    return pod(name, cpu="1", **amounts, **extra)


def whole(name: str, devices: int, **extra: Any) -> o.Pod:
    amounts: dict[str, Any] = {GPU: str(devices)}
    return pod(name, cpu="1", **amounts, **extra)


def given_to(api: Api, name: str) -> list[tuple[int, str]]:
    said = json.loads(api.annotations[f"default/{name}"][ALLOCATED])
    return [(each["minor"], each["resources"][CORE]) for each in said["gpu"]]


def test_two_halves_share_a_device_and_a_whole_one_gets_its_own() -> None:
    api = Api([machine("a", 2), share("x", 50), share("y", 50), whole("z", 1)], BEST_FIT)
    api.settle()
    given = [given_to(api, each)[0] for each in "xyz"]
    assert [amount for _, amount in given] == ["50", "50", "100"]
    assert given[0][0] == given[1][0] != given[2][0]


def test_devices_that_were_given_out_stay_so_when_a_scheduler_lets_go_of_what_is_unused() -> None:
    api = Api([machine("a", 2), whole("x", 1)], BEST_FIT)
    api.lazy = True
    wanted = api.cycle()
    api.lazy = False
    api.renew()
    api.carry_out(wanted)
    api.apply(whole("y", 1))
    api.settle()
    assert given_to(api, "x")[0][0] != given_to(api, "y")[0][0]


def test_free_hundredths_on_two_devices_are_no_room_for_more_than_either_has() -> None:
    here = [
        share(f"x{minor}", 60, node="a", annotations={ALLOCATED: json.dumps({"gpu": [{"minor": minor}]})})
        for minor in range(2)
    ]
    api = Api([machine("a", 2), *here, share("p", 80)], BEST_FIT)
    api.settle()
    assert not api.bound
    assert "1 Insufficient gpu devices" in api.said["default/p"]


def test_pods_whose_devices_nobody_wrote_down_are_counted_all_the_same() -> None:
    api = Api([machine("a", 2), whole("x", 1, node="a"), share("y", 10, node="a"), whole("p", 1)], BEST_FIT)
    api.settle()
    assert not api.bound


def test_devices_are_free_again_when_a_pod_leaves() -> None:
    api = Api([machine("a", 1), whole("x", 1), whole("y", 1)], BEST_FIT)
    api.settle()
    first = api.bound[0][0]
    api.delete("Pod", first)
    api.settle()
    assert len(api.bound) == 2


def test_a_refused_binding_gives_its_devices_back() -> None:
    api = Api([machine("a", 1), share("x", 80)], BEST_FIT)
    api.refuse_binds.add("default/x")
    api.settle()
    assert given_to(api, "x") == [(0, "80")]


def test_several_whole_devices_may_be_asked_for_in_hundredths() -> None:
    api = Api([machine("a", 2), share("x", 200)], BEST_FIT)
    api.settle()
    assert given_to(api, "x") == [(0, "100"), (1, "100")]


def test_a_share_of_more_than_one_device_is_refused() -> None:
    api = Api([machine("a", 2), share("x", 150)], BEST_FIT)
    api.settle()
    assert "150 is neither at most 100 nor a multiple of it" in api.said["default/x"]


def test_a_share_is_preempted_for_a_whole_device() -> None:
    api = Api([machine("a", 1), share("x", 10, node="a", priority=5500), whole("p", 1, priority=9500)], BEST_FIT)
    api.settle()
    assert api.evicted == ["default/x"]
    assert api.node_of("p") == "a"


def test_an_unknown_gpu_policy_is_refused_with_those_there_are() -> None:
    with pytest.raises(FieldError, match="neap"):
        read_cycle_profile("plugins: [{name: DeviceShare, policy: magic}]")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.sampled_from([10, 25, 50, 75, 100, 200]), min_size=1, max_size=12),
)
def test_no_device_is_given_out_twice(devices: list[int], asks: list[int]) -> None:
    nodes = [machine(f"n{number}", count) for number, count in enumerate(devices)]
    api = Api([*nodes, *(share(f"p{number}", ask) for number, ask in enumerate(asks))], BEST_FIT)
    api.settle()
    held: dict[tuple[str, int], int] = {}
    for key, where in api.bound:
        for minor, amount in given_to(api, key.partition("/")[2]):
            held[where, minor] = held.get((where, minor), 0) + int(amount)
            assert minor < devices[int(where[1:])]
    assert all(amount <= 100 for amount in held.values())
