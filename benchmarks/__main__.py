"""`python -m benchmarks [--peers] [FIGURE]`: every figure, or those whose name begins with FIGURE, one JSON line each.

With --peers it is those figures that take minutes and start real peers, else all the others.

A line is {figure, value, unit, peer, ratio, budget, ok, machine}. Budgets stand in budgets.yaml; the exit code is 1 if a
measured figure misses its budget, and the missed ones are named at the end on stderr.
"""

import os
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks.figure import Figure

MODULES = (
    "snapshot",
    "engine",
    "gpu_packing",
    "neap",
    "simulated_day",
    "admission",
    "agent",
    "wire",
    "scheduling_cycle",
    "hot_spots",
    "live",
    "live_testbed",
    "virtual_nodes",
    "consolidation",
    "autoscaler_yardsticks",
    "predictor",
    "interference",
    "colocation_week",
    "burst",
    "protected",
)
PEERS = (
    "scheduler_peer",
    "scheduler_gpus",
    "descheduler_peer",
    "colocation",
    "provision",
    "consolidation_peer",
    "consolidation_mixes",
    "virtual_start",
)
"""Each has GROUPS: by the beginning of the names of its figures, a function that yields them."""


def main(modules: Sequence[str], wanted: str) -> int:
    """Measure and print; the number of figures that missed their budget."""
    budgets: dict[str, dict[str, float]] = yaml.safe_load((Path(__file__).parent / "budgets.yaml").read_text()) or {}
    missed = []
    for module in modules:
        groups = import_module(f"benchmarks.{module}").GROUPS
        for beginning, measure in groups.items():
            if not (wanted.startswith(beginning) or beginning.startswith(wanted)):
                continue
            for figure in measure():
                if figure.figure.startswith(wanted):
                    line = _line(figure, budgets.get(figure.figure))
                    print(msgspec.json.encode(line).decode(), flush=True)
                    missed += [figure.figure] if line["ok"] is False else []
    for name in missed:
        print(f"missed its budget: {name}", file=sys.stderr)
    return len(missed)


def _line(figure: Figure, budget: dict[str, float] | None) -> dict[str, Any]:
    ok = None
    if budget is not None and figure.value is not None:
        ok = budget.get("min", -float("inf")) <= figure.value <= budget.get("max", float("inf"))
    return {
        **msgspec.to_builtins(figure),
        "ratio": figure.ratio,
        "budget": budget,
        "ok": ok,
        "machine": _machine(),
    }


def _machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    arguments = [each for each in sys.argv[1:] if each != "--peers"]
    chosen = MODULES if len(arguments) == len(sys.argv) - 1 else PEERS
    sys.exit(min(main(chosen, arguments[0] if arguments else ""), 1))
