"""`neaptide replay openb`: the published GPU packing experiment, on its data or on other workloads of the same form."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

import msgspec

from neaptide.cli.exits import OK, PARTIAL, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.cli.progress import progress

if TYPE_CHECKING:
    from neaptide.placement.gpu.state import Ints
    from neaptide.simulator.replay import ReplayResult, Workload

_MOST_SEEDS = 10_000


def openb(
    *,
    trace: Path | None = None,
    workload: str = "openb_pod_list_default.csv",
    policy: tuple[str, ...] = ("FGD",),
    seeds: str = "1-10",
    arrivals: Path | None = None,
    migrations_per_100: float = 0.0,
    output: Output = "table",
) -> int:
    """Place the pods of a workload one by one on empty GPU nodes until 130 % of the nodes' GPU is requested.

    JSON and YAML hold one row for each policy and seed. The table has their means besides, and an upper bound for any policy.

    Args:
        trace: a directory with the node list and the workload, as published; by default what the package ships.
        workload: a file of that directory.
        policy: neap, FGD, BestFit, DotProduct, GpuPacking, GpuClustering or Random; may be repeated.
        seeds: of the orders in which pods and nodes come, as 1-10 (the published runs) or 1,14-16.
        arrivals: a CSV file whose column `pod` names the pods in exactly the order in which they shall come.
        migrations_per_100: how many pods may be moved per 100 arrivals, to make room for such as fit nowhere (neap, FGD).
        output: table, json or yaml.
    """
    from neaptide.placement.gpu.policies import gpu_policy
    from neaptide.placement.kernels.jit import HAVE_NUMBA
    from neaptide.simulator.replay import workload as read_workload
    from neaptide.simulator.traces.openb import load_arrivals
    from neaptide.simulator.traces.rows import TraceError

    if not 0 <= migrations_per_100 < float("inf"):
        raise unacceptable("--migrations-per-100", str(migrations_per_100), "0 or more")
    numbers = parse_seeds(seeds)
    if not HAVE_NUMBA:
        print("neaptide: numba is not installed; numpy does its work, some ten times slower", file=sys.stderr)
    try:
        names = [gpu_policy(name).name for name in policy]
        read = read_workload(trace, workload)
        order, wrong = load_arrivals(arrivals, read.pods.names) if arrivals else (None, [])
        left_out = [*read.left_out, *wrong]
        for problem in left_out:
            print(f"neaptide: left out: {problem}", file=sys.stderr)
        with progress(f"replaying {workload}") as report:
            results = _replayed(read, names, numbers, order, migrations_per_100, report)
    except (TraceError, ValueError) as error:
        raise UsageError(str(error)) from error
    rows = [{"workload": workload, **msgspec.structs.asdict(result)} for result in results]
    if not migrations_per_100:
        for row in rows:
            del row["migrations"]  # the stable form has it only where it was asked for
    emit(rows, output)
    if output == "table":
        emit(
            _means(results, *_bounds(read, numbers[0], order, moving=migrations_per_100 > 0)),
            title=f"Means, and upper bounds (seed {numbers[0]})",
        )
    return PARTIAL if left_out else OK


def parse_seeds(text: str) -> list[int]:
    """The numbers of a list of numbers and ranges, as `1,4-6`, each once.

    Raises:
        UsageError: the text is no such list.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise unacceptable("--seeds", text, "numbers and ranges, as 1-10 or 1,4-6")
        chosen = range(int(first), int(last or first) + 1)
        if not 0 < len(chosen) <= _MOST_SEEDS:
            raise unacceptable("--seeds", text, f"ranges that go up, of {_MOST_SEEDS} seeds at most")
        numbers |= dict.fromkeys(chosen)
    return list(numbers)


def _replayed(
    read: "Workload",
    names: Sequence[str],
    seeds: Sequence[int],
    order: "Ints | None",
    migrations_per_100: float,
    report: Callable[[float], None],
) -> list["ReplayResult"]:
    """One run for each policy and seed; `report` is told the share that is done."""
    from neaptide.simulator.replay import replay

    runs = [(name, seed) for name in names for seed in seeds]
    results: list[ReplayResult] = []
    for name, seed in runs:
        results.append(replay(read.nodes, read.pods, name, seed, arrivals=order, migrations_per_100=migrations_per_100))
        report(len(results) / len(runs))
    return results


def _bounds(read: "Workload", seed: int, order: "Ints | None", *, moving: bool) -> tuple[float, float]:
    """Upper bounds on what can be allocated of the arrivals: when they reach all GPU, and at the end."""
    from neaptide.placement.gpu.bound import upper_bound
    from neaptide.simulator.replay import draw_orders, until_full

    come = draw_orders(read.nodes, read.pods, seed).arrivals if order is None else order
    at_full = come[: until_full(read.nodes, read.pods, come)]
    at_full_bound, final_bound = (
        upper_bound(read.nodes, read.pods, arrivals, choosy=moving) for arrivals in (at_full, come)
    )
    return at_full_bound, final_bound


def _means(results: Sequence["ReplayResult"], at_full_bound: float, final_bound: float) -> list[dict[str, Any]]:
    rows = []
    for policy in dict.fromkeys(result.policy for result in results):
        of_policy = [result for result in results if result.policy == policy]
        at_full = [result.at_full_percent for result in of_policy if result.at_full_percent is not None]
        final = [result.final_percent for result in of_policy]
        rows.append(
            {
                "policy": policy,
                "runs": len(of_policy),
                "at_full_percent": fmean(at_full) if at_full else None,
                "at_full_deviation": pstdev(at_full) if at_full else None,
                "at_full_bound": at_full_bound,
                "final_percent": fmean(final),
                "final_deviation": pstdev(final),
                "final_bound": final_bound,
            }
        )
    return rows
