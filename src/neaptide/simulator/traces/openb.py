"""Pods and nodes of a production GPU cluster (alibaba/clusterdata, cluster-trace-gpu-v2023; workloads re-sampled by its authors)."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neaptide.model.problems import LeftOut
from neaptide.placement.gpu.state import MOST_DEVICES, WHOLE, GpuNodes, GpuPods
from neaptide.simulator.traces.fields import SECONDS, or_unknown, whole
from neaptide.simulator.traces.rows import NAME, TEXT, Parser, Rows, TraceError, bad_row, read_rows

DEFAULT_WORKLOAD = "openb_pod_list_default.csv"
_MIB = 2**20


class Openb(NamedTuple):
    """The nodes with GPU, and a workload's pods; all that is about pods has the length of `pods`.

    Attributes:
        nodes: in order of the file.
        pods: in order of the file.
        qos: LS, BE, Burstable, Guaranteed; empty where the file has none.
        phase: how the pod ended: Running, Succeeded, Failed, Pending; empty where the file has none.
        created, scheduled, deleted: seconds since the start of the trace; NaN where unknown.
        bad: rows that were left out.
    """

    nodes: GpuNodes
    pods: GpuPods
    qos: list[str]
    phase: list[str]
    created: NDArray[np.float64]
    scheduled: NDArray[np.float64]
    deleted: NDArray[np.float64]
    bad: list[LeftOut]


def _up_to(high: int) -> Parser:
    def parse(text: str) -> int:
        value = int(text)
        if not 0 <= value <= high:
            raise ValueError(text)
        return value

    return Parser(parse, f"a whole number from 0 to {high}")


_MEMORY = _up_to(2**40)  # in bytes it fits int64
_DEVICES = _up_to(MOST_DEVICES)
_NODE_COLUMNS = {"sn": NAME, "cpu_milli": whole(0), "memory_mib": _MEMORY, "gpu": _DEVICES, "model": TEXT}
_POD_COLUMNS = {
    "name": NAME,
    "cpu_milli": whole(0),
    "memory_mib": _MEMORY,
    "num_gpu": _DEVICES,
    "gpu_milli": _up_to(WHOLE),
}
_OPTIONAL: dict[str, tuple[Parser, Any]] = {
    "gpu_spec": (TEXT, ""),
    "qos": (TEXT, ""),
    "pod_phase": (TEXT, ""),
    "creation_time": (or_unknown(SECONDS), math.nan),
    "scheduled_time": (or_unknown(SECONDS), math.nan),
    "deletion_time": (or_unknown(SECONDS), math.nan),
}


def load_openb(directory: Path, workload: str = DEFAULT_WORKLOAD) -> Openb:
    """Read the node list of a directory and one of its workloads.

    The node list is the file with `gpu_node` in its name, else with `node`; nodes without GPU are passed over.

    Raises:
        TraceError: a file is missing, or cannot be read, or lacks a column.
    """
    nodes, bad_nodes = _nodes(_node_list(directory))
    path = next((path for path in (directory / workload, directory / f"{workload}.gz") if path.is_file()), None)
    if path is None:
        found = ", ".join(sorted(path.name for path in directory.glob("*pod_list*"))) or "none"
        raise TraceError(f"{directory / workload}: there is no such file; workloads found beside it: {found}")
    rows, bad_pods = _checked(path, read_rows(path, _POD_COLUMNS, optional=_OPTIONAL), "name", _wrong_gpu)
    pods = GpuPods(
        names=rows["name"],
        cpu=np.array(rows["cpu_milli"], np.int64),
        memory=np.array(rows["memory_mib"], np.int64) * _MIB,
        num_gpu=np.array(rows["num_gpu"], np.int64),
        gpu_milli=np.array(rows["gpu_milli"], np.int64),
        gpu_spec=rows["gpu_spec"],
    )
    return Openb(
        nodes=nodes,
        pods=pods,
        qos=rows["qos"],
        phase=rows["pod_phase"],
        created=np.array(rows["creation_time"], np.float64),
        scheduled=np.array(rows["scheduled_time"], np.float64),
        deleted=np.array(rows["deletion_time"], np.float64),
        bad=bad_nodes + bad_pods,
    )


def load_arrivals(path: Path, names: list[str]) -> tuple[NDArray[np.int64], list[LeftOut]]:
    """Indices into `names` in the order of a file whose column `pod` has one of them in each row; one may come more than once."""
    rows = read_rows(path, {"pod": NAME})
    index = {name: number for number, name in enumerate(names)}
    bad = list(rows.bad)
    for line, name in zip(rows.lines, rows.columns["pod"], strict=True):
        if name not in index:
            bad.append(bad_row(path, line, "pod", name, "the name of a pod of the workload"))
    return np.array([index[name] for name in rows.columns["pod"] if name in index], np.int64), bad


def _node_list(directory: Path) -> Path:
    for pattern in ("*gpu_node*.csv", "*gpu_node*.csv.gz", "*node*.csv", "*node*.csv.gz"):
        for path in sorted(directory.glob(pattern)):
            return path
    raise TraceError(f"{directory}: holds no node list; accepted: a file like openb_node_list_gpu_node.csv")


def _nodes(path: Path) -> tuple[GpuNodes, list[LeftOut]]:
    rows, bad = _checked(path, read_rows(path, _NODE_COLUMNS), "sn", _wrong_model)
    with_gpu = [at for at, devices in enumerate(rows["gpu"]) if devices > 0]
    column = {name: [values[at] for at in with_gpu] for name, values in rows.items()}
    nodes = GpuNodes(
        names=column["sn"],
        cpu=np.array(column["cpu_milli"], np.int64),
        memory=np.array(column["memory_mib"], np.int64) * _MIB,
        gpu_count=np.array(column["gpu"], np.int64),
        model=column["model"],
    )
    return nodes, bad


def _checked(
    path: Path, rows: Rows, name: str, wrong: Callable[[dict[str, Any]], tuple[str, object, str] | None]
) -> tuple[dict[str, list[Any]], list[LeftOut]]:
    """The rows whose name is new and about which `wrong` has nothing to say (field, value, what is accepted)."""
    seen: set[str] = set()
    kept = []
    bad = list(rows.bad)
    for at, line in enumerate(rows.lines):
        row = {field: values[at] for field, values in rows.columns.items()}
        if row[name] in seen:
            bad.append(bad_row(path, line, name, row[name], "each name once"))
        elif problem := wrong(row):
            bad.append(bad_row(path, line, *problem))
        else:
            seen.add(row[name])
            kept.append(at)
    return {field: [values[at] for at in kept] for field, values in rows.columns.items()}, bad


def _wrong_model(node: dict[str, Any]) -> tuple[str, object, str] | None:
    if node["gpu"] > 0 and not node["model"]:
        return "model", node["model"], "the model of the node's GPUs"
    return None


def _wrong_gpu(pod: dict[str, Any]) -> tuple[str, object, str] | None:
    if (pod["num_gpu"] > 0) != (pod["gpu_milli"] > 0):
        return "gpu_milli", pod["gpu_milli"], f"1 to {WHOLE} where num_gpu is 1 or more, else 0"
    return None
