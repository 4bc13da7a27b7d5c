"""Make the packaged tables anew: `python -m neaptide.simulator.data.derive TRACES [TARGET]`.

TRACES is a directory with the folders `openb` and `cpu_usage` and the publishers' files in them; TARGET is by default
this folder. The same files give the same bytes.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from neaptide.simulator.traces.cpu_usage import load_cpu_usage
from neaptide.simulator.traces.fields import whole
from neaptide.simulator.traces.openb import Openb, load_openb
from neaptide.simulator.traces.packaged import (
    MIB,
    OPENB_FILE,
    SERIES_FILE,
    PackedNodes,
    PackedOpenb,
    PackedPods,
    PackedSeries,
)
from neaptide.simulator.traces.rows import NAME, TEXT, TraceError, read_rows
from neaptide.simulator.traces.series import Series

# A service whose demand has a daily and weekly tide; a group of machines under an autoscaler; a mostly idle machine.
SERIES = ("nyc_taxi", "cpu_utilization_asg_misconfiguration", "ec2_cpu_utilization_fe7f93")
ALL_NODES = "openb_node_list_all_node.csv"


def derive(traces: Path, target: Path) -> None:
    """Write the tables into `target`.

    Raises:
        TraceError: a source is missing, or cannot be packed without losing something.
    """
    openb = PackedOpenb(_pack_nodes(traces / "openb" / ALL_NODES), _pack_pods(load_openb(traces / "openb")))
    (target / OPENB_FILE).write_bytes(msgspec.json.encode(openb) + b"\n")
    series = load_cpu_usage(traces / "cpu_usage").series
    if missing := [name for name in SERIES if name not in series]:
        raise TraceError(f"{traces / 'cpu_usage'}: lacks {', '.join(missing)}; found: {', '.join(series)}")
    lines = [msgspec.json.encode(_pack_series(series[name])) for name in SERIES]
    (target / SERIES_FILE).write_bytes(b"[" + b",\n".join(lines) + b"]\n")


def _pack_series(series: Series) -> PackedSeries:
    if series.gaps or np.any(np.diff(series.times) != series.step):
        raise TraceError(f"{series.name}: only samples at one step can be packed; found gaps {series.gaps}")
    # The publisher's averages carry no more than four decimals, and the residue of binary floating point after them.
    return PackedSeries(series.name, float(series.times[0]), series.step, np.round(series.values, 4).tolist())


def _pack_nodes(path: Path) -> PackedNodes:
    columns = {"sn": NAME, "cpu_milli": whole(0), "memory_mib": whole(0), "gpu": whole(0), "model": TEXT}
    rows = read_rows(path, columns)
    _check_names(rows.columns["sn"], "openb-node")
    return PackedNodes(*_shapes([rows.columns[name] for name in columns if name != "sn"]))


def _pack_pods(openb: Openb) -> PackedPods:
    pods = openb.pods
    _check_names(pods.names, "openb-pod")
    sizes = (pods.cpu.tolist(), (pods.memory // MIB).tolist(), pods.num_gpu.tolist(), pods.gpu_milli.tolist())
    shapes, shape = _shapes([*sizes, pods.gpu_spec, openb.qos, openb.phase])
    return PackedPods(
        shapes=shapes,
        shape=shape,
        created=_seconds(np.diff(openb.created, prepend=0.0)),
        waited=[None if math.isnan(wait) else round(wait) for wait in (openb.scheduled - openb.created).tolist()],
        lived=_seconds(openb.deleted - openb.created),
    )


def _seconds(values: np.typing.NDArray[np.float64]) -> list[int]:
    return [round(value) for value in values.tolist()]


def _shapes(columns: Sequence[Sequence[Any]]) -> tuple[list[Any], list[int]]:
    """The distinct rows, in order of appearance, and for each row which of them it is."""
    rows = list(zip(*columns, strict=True))
    number = {row: at for at, row in enumerate(dict.fromkeys(rows))}
    return list(number), [number[row] for row in rows]


def _check_names(names: Sequence[str], prefix: str) -> None:
    for at, name in enumerate(names):
        if name != f"{prefix}-{at:04d}":
            raise TraceError(f"{name}: names are not packed; accepted: {prefix}-{at:04d}, the next in a row")


if __name__ == "__main__":
    derive(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
