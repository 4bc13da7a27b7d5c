from pathlib import Path

import numpy as np
import pytest

from neaptide.simulator.traces.genai import load_genai


def test_every_container_has_a_series_and_one_that_is_not_told_the_name_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "pod_memory_util.csv").write_text("timestamp,container,value\n60,a,0.5\n60,,0.1\n120,a,0.6\n60,b,0.7\n")
    metric = load_genai(tmp_path).metrics["pod_memory_util"]
    assert {name: series.values.tolist() for name, series in metric.items()} == {"a": [0.5, 0.6], "b": [0.7], "": [0.1]}


def test_a_metric_with_request_types_is_split_by_them(tmp_path: Path) -> None:
    (tmp_path / "qps.csv").write_text("timestamp,container,value,request_type\n60,a,1,Generative\n60,,2,API\n")
    assert set(load_genai(tmp_path).metrics) == {"qps/Generative", "qps/API"}


@pytest.mark.parametrize("unknown", ["None", "NULL", "nan", ""])
def test_the_publishers_own_column_names_and_unknowns_are_read(unknown: str, tmp_path: Path) -> None:
    (tmp_path / "lora_update_latency_anon.csv").write_text(
        f"timestamp_anon,value,container_ip\n60.0,2.5,f00\n60.0,3.5,{unknown}\n"
    )
    metric = load_genai(tmp_path).metrics["lora_update_latency_anon"]
    assert {name: series.values.tolist() for name, series in metric.items()} == {"f00": [2.5], "": [3.5]}


def test_a_second_sample_of_a_container_at_one_time_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("timestamp,container,value\n60,a,1\n60,b,1\n60,a,2\n")
    (left_out,) = load_genai(tmp_path).bad
    assert (left_out.object, left_out.field, left_out.value) == ("line 4", "timestamp", "60")
    assert "'a'" in left_out.accepted


def test_all_of_the_public_metrics_load(traces: Path) -> None:
    loaded = load_genai(traces / "genai")
    assert {"pod_gpu_duty_cycle", "pod_memory_util", "queue_size"} <= set(loaded.metrics)
    assert all(bad.object.startswith("line ") for bad in loaded.bad)
    for containers in loaded.metrics.values():
        for series in containers.values():
            assert (np.diff(series.times) > 0).all()
            assert (series.values >= 0).all()
