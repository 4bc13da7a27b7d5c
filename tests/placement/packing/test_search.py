"""A choice of nodes is one that pods fit on, costs what it says, and is no dearer than what is there."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neaptide.placement.packing import kernels
from neaptide.placement.packing.problem import Choice, Problem, useful_offerings
from neaptide.placement.packing.relaxation import relaxed
from neaptide.placement.packing.search import search


def problem(
    request: list[list[int]],
    held: list[list[int]],
    room: list[list[int]],
    price: list[float],
    *,
    fits: list[list[bool]] | None = None,
    may_go: list[bool] | None = None,
) -> Problem:
    return Problem(
        request=np.array(request, dtype=np.float64),
        fits=np.ones((len(request), len(price)), dtype=np.bool_) if fits is None else np.array(fits, dtype=np.bool_),
        room=np.array(room, dtype=np.float64),
        price=np.array(price, dtype=np.float64),
        held=np.array(held, dtype=np.int64).reshape(len(held), len(request)),
        may_go=np.array([True] * len(held) if may_go is None else may_go, dtype=np.bool_),
    )


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    kinds, nodes, offers = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(0, 3))
    number = st.integers(0, 3)
    request = [[draw(st.integers(1, 5)), draw(st.integers(0, 5)), 1] for _ in range(kinds)]
    held = [[draw(number) for _ in range(kinds)] for _ in range(nodes)]
    room = [[draw(st.integers(-2, 20)), draw(st.integers(0, 20)), draw(st.integers(0, 10))] for _ in range(nodes)]
    room += [[draw(st.integers(5, 30)), draw(st.integers(5, 30)), 20] for _ in range(offers)]
    price = [draw(st.floats(0.0, 2.0)) for _ in range(nodes + offers)]
    fits = [[draw(st.booleans()) for _ in range(nodes + offers)] for _ in range(kinds)]
    may_go = [draw(st.booleans()) for _ in range(nodes)]
    return problem(request, held, room, price, fits=fits, may_go=may_go)


def check(found: Problem, choice: Choice, evictions: int) -> None:
    columns = np.concatenate([np.arange(found.nodes), choice.bought]).astype(np.int64)
    came = choice.guests.astype(np.float64)
    assert (choice.kept | found.may_go).all()
    assert (choice.guests >= 0).all()
    assert not choice.guests[: found.nodes][~choice.kept].any()
    assert (choice.guests.sum(axis=0) == found.held[~choice.kept].sum(axis=0)).all()
    crowded = came.any(axis=1)
    assert (came @ found.request <= found.room[columns] + 1e-9)[crowded].all()
    assert found.fits[:, columns].T[choice.guests > 0].all()
    assert choice.evictions == found.pods[~choice.kept].sum() <= max(evictions, 0)
    paid = found.price[: found.nodes][choice.kept & found.may_go].sum() + found.price[choice.bought].sum()
    assert choice.money == pytest.approx(paid)
    assert choice.money <= found.price[: found.nodes][found.may_go].sum() + 1e-9


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 20))
def test_every_choice_can_be_carried_out_within_its_evictions(found: Problem, evictions: int) -> None:
    prices = relaxed(found, toll=0.001, evictions=evictions)
    assert prices is not None
    choice = search(found, prices, evictions=evictions, steps=60)
    check(found, choice, evictions)
    bound = relaxed(found, evictions=evictions)
    assert bound is not None
    assert choice.money >= bound.money - 1e-6


@pytest.mark.skipif(not hasattr(kernels.improve, "py_func"), reason="numba is not installed")
@settings(max_examples=20, deadline=None)
@given(problems())
@example(problem([[1, 0, 1]], [[0], [1]], [[0, 0, 0], [0, 0, 0], [5, 5, 20]], [0.0, 0.0, 5e-324], may_go=[False, True]))
def test_compiled_and_plain_code_choose_the_same(found: Problem) -> None:
    prices = relaxed(found, toll=0.001)
    assert prices is not None
    compiled = search(found, prices, evictions=100, steps=40)
    names = [name for name in vars(kernels) if hasattr(getattr(kernels, name), "py_func")]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(kernels, name, getattr(kernels, name).py_func)
        plain = search(found, prices, evictions=100, steps=40)
    assert plain.money == pytest.approx(compiled.money)
    assert plain.evictions == compiled.evictions
    assert (plain.kept == compiled.kept).all()
    assert (plain.guests == compiled.guests).all()


def test_what_one_node_has_left_of_cpu_does_not_serve_with_the_memory_of_another() -> None:
    room, stay = [[10, 1], [1, 10], [0, 0]], [False, False, True]
    found = problem([[1, 1]], held=[[0], [0], [6]], room=room, price=[1.0, 1.0, 1.0], may_go=stay)
    by_shape, pooled = relaxed(found), relaxed(found, pooled=True)
    assert by_shape is not None
    assert pooled is not None
    assert by_shape.money == pytest.approx(2 / 3)
    assert pooled.money == pytest.approx(0.0)


def test_a_pod_goes_only_where_it_fits_as_a_whole() -> None:
    found = problem(
        [[4]], held=[[0], [0], [1]], room=[[3], [3], [0]], price=[1.0, 1.0, 1.0], may_go=[False, False, True]
    )
    bound = relaxed(found)
    assert bound is not None
    assert bound.money == pytest.approx(1.0)


def test_two_half_empty_nodes_become_one() -> None:
    found = problem([[2]], held=[[1], [1]], room=[[2], [2]], price=[1.0, 1.0])
    prices = relaxed(found, evictions=10)
    assert prices is not None
    choice = search(found, prices, evictions=10)
    assert (choice.money, choice.evictions, int(choice.kept.sum())) == (1.0, 1, 1)


def test_what_costs_nothing_is_bought() -> None:
    found = problem([[1]], held=[[2], [2]], room=[[0], [0], [5], [5]], price=[1.0, 1.0, 0.0, 0.0])
    prices = relaxed(found, evictions=10)
    assert prices is not None
    assert search(found, prices, evictions=10).money == pytest.approx(0.0)


def test_three_nodes_become_two_of_another_kind() -> None:
    found = problem([[4]], held=[[2], [2], [2]], room=[[0], [0], [0], [12]], price=[1.0, 1.0, 1.0, 1.2])
    prices = relaxed(found, evictions=10)
    assert prices is not None
    choice = search(found, prices, evictions=10)
    assert choice.money == pytest.approx(2.4)
    assert (len(choice.bought), choice.evictions) == (2, 6)


def test_a_node_that_no_other_can_stand_in_for_stays() -> None:
    found = problem([[4]], held=[[2]], room=[[0], [3]], price=[1.0, 0.1])
    prices = relaxed(found, evictions=10)
    assert prices is not None
    assert search(found, prices, evictions=10).kept.all()


def test_an_offering_that_another_betters_in_everything_is_not_looked_at() -> None:
    fits = np.array([[True, True, True]])
    room, price = np.array([[4.0], [8.0], [8.0]]), np.array([1.0, 1.0, 1.0])
    assert useful_offerings(fits, room, price, np.zeros(3, dtype=np.int64)).tolist() == [1]
    assert useful_offerings(fits, room, price, np.array([0, 0, 1])).tolist() == [1, 2]
