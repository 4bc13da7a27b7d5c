"""The openb trace."""

import gzip
import math
from pathlib import Path

import pytest

from neaptide.simulator.traces.openb import load_arrivals, load_openb
from neaptide.simulator.traces.rows import TraceError

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn-0,64000,262144,2,P100\nn-1,96000,1024,8,G2\nn-2,32000,1024,0,\n"
PODS = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
p-0,12000,16384,1,1000,,LS,Running,0,100,
p-1,6000,12288,1,460,V100M16|V100M32,BE,Failed,5,90,7
p-2,500,2,0,0,,Burstable,Pending,9,12,
"""
BARE = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np-0,12000,16384,8,1000\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "openb_node_list_gpu_node.csv").write_text(NODES)
    (tmp_path / "openb_pod_list_default.csv").write_text(PODS)
    return tmp_path


def test_nodes_and_pods_come_in_our_units(directory: Path) -> None:
    loaded = load_openb(directory)
    assert loaded.nodes.names == ["n-0", "n-1"]
    assert loaded.nodes.memory.tolist() == [262144 << 20, 1024 << 20]
    assert loaded.nodes.gpu_milli() == 10_000
    assert loaded.pods.gpu_spec == ["", "V100M16|V100M32", ""]
    assert loaded.pods.total_milli().tolist() == [1000, 460, 0]
    assert (loaded.qos, loaded.phase) == (["LS", "BE", "Burstable"], ["Running", "Failed", "Pending"])
    assert loaded.deleted.tolist() == [100.0, 90.0, 12.0]
    assert math.isnan(loaded.scheduled[0])
    assert loaded.bad == []


def test_a_workload_may_lack_everything_but_requests_and_may_be_compressed(directory: Path) -> None:
    (directory / "other.csv.gz").write_bytes(gzip.compress(BARE.encode()))
    loaded = load_openb(directory, "other.csv")
    assert loaded.pods.num_gpu.tolist() == [8]
    assert (loaded.qos, loaded.pods.gpu_spec) == ([""], [""])
    assert math.isnan(loaded.created[0])


WRONG = {
    "a negative request": ("p-9,-1,1,0,0", "cpu_milli", "-1"),
    "more than a whole device": ("p-9,1,1,1,1001", "gpu_milli", "1001"),
    "a share of no device": ("p-9,1,1,0,500", "gpu_milli", "500"),
    "a device without a share": ("p-9,1,1,1,0", "gpu_milli", "0"),
    "more devices than any node may have": ("p-9,1,1,63,1000", "num_gpu", "63"),
    "a name that was there": ("p-0,1,1,0,0", "name", "p-0"),
    "no name": (",1,1,0,0", "name", ""),
    "words for numbers": ("p-9,1,NaN,0,0", "memory_mib", "NaN"),
    "too few fields": ("p-9,1", "(row)", "2 fields"),
}


@pytest.mark.parametrize(("row", "field", "value"), WRONG.values(), ids=WRONG)
def test_a_wrong_pod_is_left_out_and_reported(directory: Path, row: str, field: str, value: str) -> None:
    (directory / "wrong.csv").write_text(BARE + row + "\n")
    loaded = load_openb(directory, "wrong.csv")
    (left_out,) = loaded.bad
    assert (left_out.object, left_out.field, left_out.value) == ("line 3", field, value)
    assert left_out.file.endswith("wrong.csv")
    assert loaded.pods.names == ["p-0"]


def test_a_node_with_gpus_of_no_model_is_left_out_and_reported(directory: Path) -> None:
    (directory / "openb_node_list_gpu_node.csv").write_text(NODES + "n-3,1,1,4,\n")
    loaded = load_openb(directory)
    assert loaded.nodes.names == ["n-0", "n-1"]
    assert [(each.object, each.field) for each in loaded.bad] == [("line 5", "model")]


def test_a_workload_that_is_missing_is_an_error_that_names_those_found(directory: Path) -> None:
    with pytest.raises(
        TraceError, match=r"x\.csv: there is no such file; workloads found beside it: openb_pod_list_def"
    ):
        load_openb(directory, "x.csv")


def test_a_directory_without_a_node_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no node list"):
        load_openb(tmp_path)


def test_a_missing_column_is_an_error_that_names_it_and_those_found(directory: Path) -> None:
    (directory / "short.csv").write_text("name,cpu_milli,memory_mib,num_gpu\n")
    with pytest.raises(TraceError, match="lacks gpu_milli; found: name, cpu_milli, memory_mib, num_gpu"):
        load_openb(directory, "short.csv")


def test_arrivals_name_pods_in_order_and_again_and_unknown_names_are_reported(tmp_path: Path) -> None:
    (tmp_path / "arrivals.csv").write_text("pod\nb\na\nz\nb\n")
    order, bad = load_arrivals(tmp_path / "arrivals.csv", ["a", "b"])
    assert order.tolist() == [1, 0, 1]
    assert [(each.object, each.field, each.value) for each in bad] == [("line 4", "pod", "z")]
