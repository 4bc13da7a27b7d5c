"""The openb experiment."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.placement.gpu.scenes import NodeOf, PodOf, nodes_of, pods_of

from neaptide.simulator.replay import PUBLISHED_SEEDS, draw_orders, replay, until_full, workload
from neaptide.simulator.traces.openb import DEFAULT_WORKLOAD, load_arrivals
from neaptide.simulator.traces.rows import TraceError

SHIPPED = workload(None, DEFAULT_WORKLOAD)


def test_arrivals_are_the_whole_workload_and_then_some_of_it_again_up_to_130_percent() -> None:
    arrivals = draw_orders(SHIPPED.nodes, SHIPPED.pods, seed=3).arrivals
    size = len(SHIPPED.pods.names)
    assert sorted(arrivals[:size].tolist()) == list(range(size))
    requested = SHIPPED.pods.total_milli()[arrivals].sum() / SHIPPED.nodes.gpu_milli()
    assert 1.299 < requested < 1.302


def test_a_workload_that_asks_for_more_loses_pods_at_random_until_it_does_not() -> None:
    nodes, pods = nodes_of(NodeOf(gpus=8)), pods_of(*[PodOf()] * 100)
    orders = draw_orders(nodes, pods, seed=1)
    assert len(set(orders.arrivals.tolist())) == len(orders.arrivals) == 10


def test_arrivals_until_full_are_those_that_first_ask_for_all_gpu() -> None:
    nodes, pods = nodes_of(NodeOf(gpus=2)), pods_of(PodOf(), PodOf(milli=400), PodOf(milli=600))
    assert until_full(nodes, pods, np.array([0, 1, 2, 0])) == 3
    assert until_full(nodes, pods, np.array([0, 1])) is None


def test_figures_count_what_was_placed_at_full_and_at_the_end() -> None:
    nodes, pods = nodes_of(NodeOf(gpus=2)), pods_of(PodOf(milli=600), PodOf(num=2), PodOf(milli=400))
    result = replay(nodes, pods, "BestFit", 1, arrivals=np.array([0, 1, 2, 2, 0]))
    assert (result.arrivals, result.unscheduled, result.gpu_milli_total) == (5, 1, 2000)
    assert result.at_full_percent == 30.0
    assert result.final_percent == 100.0


def test_arrivals_that_never_fill_the_nodes_have_no_figure_at_full() -> None:
    result = replay(nodes_of(NodeOf(gpus=2)), pods_of(PodOf()), "FGD", 1, arrivals=np.array([0]))
    assert result.at_full_percent is None
    assert result.final_percent == 50.0


def test_kernels_and_numpy_give_the_same_replay() -> None:
    results = [replay(SHIPPED.nodes, SHIPPED.pods, "GpuPacking", 2, compiled=compiled) for compiled in (True, False)]
    assert results[0].unscheduled == results[1].unscheduled
    assert results[0].final_percent == results[1].final_percent


def test_without_numba_numpy_gives_the_same_replay() -> None:
    code = """
import sys
sys.modules["numba"] = None
from neaptide.simulator.replay import replay, workload
read = workload(None, "openb_pod_list_default.csv")
print(replay(read.nodes, read.pods, "BestFit", 2).final_percent)
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - our own
    assert float(ran.stdout) == replay(SHIPPED.nodes, SHIPPED.pods, "BestFit", 2).final_percent


@pytest.mark.parametrize(
    ("nodes", "pods"),
    [
        (nodes_of(NodeOf(gpus=0, model="")), pods_of(PodOf())),
        (nodes_of(), pods_of(PodOf())),
        (nodes_of(NodeOf()), pods_of(PodOf(num=0, milli=0))),
        (nodes_of(NodeOf()), pods_of()),
    ],
    ids=["no GPU", "no nodes", "nobody asks for GPU", "no pods"],
)
def test_where_there_is_nothing_to_replay_the_error_says_what_is_wanted(nodes: object, pods: object) -> None:
    with pytest.raises(ValueError, match="accepted are nodes with GPUs"):
        replay(nodes, pods, "FGD", 1)  # type: ignore[arg-type]


def test_the_package_ships_the_default_workload_only() -> None:
    with pytest.raises(TraceError, match=r"the package ships \w+\.csv only"):
        workload(None, "openb_pod_list_cpu100.csv")


def test_the_shipped_workload_is_the_published_one(traces: Path) -> None:
    published = workload(traces / "openb", DEFAULT_WORKLOAD)
    first, second = (replay(read.nodes, read.pods, "FGD", 4) for read in (SHIPPED, published))
    assert (first.arrivals, first.unscheduled, first.final_percent) == (
        second.arrivals,
        second.unscheduled,
        second.final_percent,
    )


def test_the_first_seed_gives_the_recorded_arrivals_of_the_authors_simulator(traces: Path) -> None:
    recorded, bad = load_arrivals(traces / "openb" / "arrivals_default_seed42.csv", SHIPPED.pods.names)
    assert not bad
    assert np.array_equal(draw_orders(SHIPPED.nodes, SHIPPED.pods, PUBLISHED_SEEDS[0]).arrivals, recorded)


def test_fgd_on_the_recorded_arrivals_ends_where_the_authors_simulator_ended(traces: Path) -> None:
    recorded, _ = load_arrivals(traces / "openb" / "arrivals_default_seed42.csv", SHIPPED.pods.names)
    result = replay(SHIPPED.nodes, SHIPPED.pods, "FGD", 7, arrivals=recorded)  # recognised, whatever the seed
    assert result.unscheduled == 2_532
    assert result.final_percent == pytest.approx(100 * 5_919_410 / 6_212_000)
    assert result.at_full_percent == pytest.approx(95.14, abs=0.01)
