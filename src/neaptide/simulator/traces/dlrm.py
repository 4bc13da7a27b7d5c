"""Instances of recommendation services on CPU and GPU nodes (alibaba/clusterdata, cluster-trace-gpu-v2025): requests,
density limits and life times. All are latency-sensitive.
"""

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neaptide.model.problems import LeftOut
from neaptide.simulator.traces.fields import AMOUNT, SECONDS, or_unknown, scaled, whole
from neaptide.simulator.traces.files import read_files
from neaptide.simulator.traces.rows import NAME, bad_row, read_rows

NO_LIMIT = -1


class Dlrm(NamedTuple):
    """Instances as columns of one length.

    Attributes:
        names: each once.
        roles: CN (runs on a CPU node) or HN (on a GPU node).
        apps: the service that an instance belongs to.
        cpu_milli: int64, requested.
        memory_bytes: int64, requested.
        gpus: int64, whole devices requested.
        rdma_percent: float64, share of a network card's bandwidth; NaN where unknown.
        disk_bytes: float64, requested; NaN where unknown.
        max_per_node: int64, instances of one service that a node may hold; NO_LIMIT where there is none.
        created, scheduled, deleted: float64, seconds since the start of the trace; NaN where unknown: before the trace
            began or after it ended.
        bad: rows and files that were left out.
    """

    names: list[str]
    roles: list[str]
    apps: list[str]
    cpu_milli: NDArray[np.int64]
    memory_bytes: NDArray[np.int64]
    gpus: NDArray[np.int64]
    rdma_percent: NDArray[np.float64]
    disk_bytes: NDArray[np.float64]
    max_per_node: NDArray[np.int64]
    created: NDArray[np.float64]
    scheduled: NDArray[np.float64]
    deleted: NDArray[np.float64]
    bad: list[LeftOut]


_COLUMNS = {
    "instance_sn": NAME,
    "role": NAME,
    "app_name": NAME,
    "cpu_request": scaled(1000),
    "memory_request": scaled(2**30),
    "gpu_request": whole(0),
    "max_instance_per_node": whole(NO_LIMIT),
    "creation_time": or_unknown(SECONDS),
    "scheduled_time": or_unknown(SECONDS),
    "deletion_time": or_unknown(SECONDS),
}
_OPTIONAL = {"rdma_request": (or_unknown(AMOUNT), math.nan), "disk_request": (or_unknown(scaled(2**30)), math.nan)}
_TIMES = ("creation_time", "scheduled_time", "deletion_time")


def load_dlrm(directory: Path) -> Dlrm:
    """Read every instance of a directory, files in order of their names.

    Raises:
        TraceError: no file of the directory has instances.
    """
    files, bad = read_files(directory, partial(_read, seen=set()))
    all_of = {
        name: [value for columns in files.values() for value in columns[name]] for name in (*_COLUMNS, *_OPTIONAL)
    }
    return Dlrm(
        names=all_of["instance_sn"],
        roles=all_of["role"],
        apps=all_of["app_name"],
        cpu_milli=np.array(all_of["cpu_request"], np.int64),
        memory_bytes=np.array(all_of["memory_request"], np.int64),
        gpus=np.array(all_of["gpu_request"], np.int64),
        rdma_percent=np.array(all_of["rdma_request"], np.float64),
        disk_bytes=np.array(all_of["disk_request"], np.float64),
        max_per_node=np.array(all_of["max_instance_per_node"], np.int64),
        created=np.array(all_of["creation_time"], np.float64),
        scheduled=np.array(all_of["scheduled_time"], np.float64),
        deleted=np.array(all_of["deletion_time"], np.float64),
        bad=bad,
    )


def _read(path: Path, *, seen: set[str]) -> tuple[dict[str, list[Any]], list[LeftOut]]:
    """One file's columns, without the names in `seen`, which grows, and without lives that end before they begin."""
    rows = read_rows(path, _COLUMNS, optional=_OPTIONAL)
    kept: list[int] = []
    bad = list(rows.bad)
    for at, (line, name) in enumerate(zip(rows.lines, rows.columns["instance_sn"], strict=True)):
        if name in seen:
            bad.append(bad_row(path, line, "instance_sn", name, "each name once"))
        elif wrong := _out_of_order({field: rows.columns[field][at] for field in _TIMES}):
            bad.append(bad_row(path, line, *wrong))
        else:
            seen.add(name)
            kept.append(at)
    return {name: [values[at] for at in kept] for name, values in rows.columns.items()}, bad


def _out_of_order(times: dict[str, float]) -> tuple[str, float, str] | None:
    """The first time that lies before the one it must follow, its value, and what is accepted; unknown ones are in order."""
    known = [(field, time) for field, time in times.items() if not math.isnan(time)]
    for (before, earlier), (after, later) in pairwise(known):
        if later < earlier:
            return after, later, f"{before} ({earlier}) or later"
    return None
