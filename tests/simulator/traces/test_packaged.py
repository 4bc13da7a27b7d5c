from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from neaptide.simulator.data.derive import SERIES, derive
from neaptide.simulator.traces.cpu_usage import load_cpu_usage
from neaptide.simulator.traces.openb import load_openb
from neaptide.simulator.traces.packaged import OPENB_FILE, SERIES_FILE, cpu_series, openb, openb_nodes
from neaptide.simulator.traces.rows import TraceError

DATA = files("neaptide.simulator.data")


def test_the_packaged_data_is_below_500_kb_and_names_its_source() -> None:
    assert sum(len(DATA.joinpath(name).read_bytes()) for name in (OPENB_FILE, SERIES_FILE)) < 500_000
    source = DATA.joinpath("SOURCE.md").read_text(encoding="utf-8")
    assert all(name in source for name in (OPENB_FILE, SERIES_FILE, *SERIES))


def test_the_packaged_openb_trace_is_as_large_as_published() -> None:
    trace = openb()
    assert len(trace.pods.names) == len(trace.qos) == len(trace.created) == 8_152
    assert len(trace.nodes.names) == 1_213
    assert trace.nodes.gpu_milli() == 6_212_000
    assert len(openb_nodes().names) == 1_523


def test_the_packaged_series_are_regular_and_cannot_be_changed() -> None:
    assert list(cpu_series()) == list(SERIES)
    for series in cpu_series().values():
        assert series.step in (300, 1800)
        assert series.gaps == ()
        with pytest.raises(ValueError, match="read-only"):
            series.values[0] = 0


def test_the_packaged_data_is_what_the_loaders_give(traces: Path) -> None:
    np.testing.assert_equal(openb(), load_openb(traces / "openb"))
    loaded = load_cpu_usage(traces / "cpu_usage").series
    for name, series in cpu_series().items():
        np.testing.assert_array_equal(series.times, loaded[name].times)
        np.testing.assert_allclose(series.values, loaded[name].values, rtol=1e-12)


def test_the_packaged_data_is_derived_anew_byte_for_byte(traces: Path, tmp_path: Path) -> None:
    derive(traces, tmp_path)
    for name in (OPENB_FILE, SERIES_FILE):
        assert (tmp_path / name).read_bytes() == DATA.joinpath(name).read_bytes(), name


def test_nothing_is_derived_from_a_directory_without_the_sources(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=str(tmp_path)):
        derive(tmp_path, tmp_path)
