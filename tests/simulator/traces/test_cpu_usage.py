from pathlib import Path

import numpy as np

from neaptide.simulator.traces.cpu_usage import load_cpu_usage


def test_a_series_has_the_name_of_its_file_and_its_values_in_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "web.csv").write_text(
        "timestamp,value\n1970-01-01 00:10:00,3\n1970-01-01 00:00:00,1\n1970-01-01 02:05:00+02:00,2\n"
    )
    series = load_cpu_usage(tmp_path).series["web"]
    assert series.times.tolist() == [0, 300, 600]
    assert series.values.tolist() == [1, 2, 3]
    assert series.step == 300


def test_a_second_row_of_one_time_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "web.csv").write_text("timestamp,value\n2014-02-14 14:27:00,1\n2014-02-14 14:27:00,2\n")
    loaded = load_cpu_usage(tmp_path)
    assert loaded.series["web"].values.tolist() == [1]
    (left_out,) = loaded.bad
    assert (left_out.object, left_out.field) == ("line 3", "timestamp")
    assert left_out.value.startswith("2014-02-14 14:27:00")


def test_all_of_the_public_series_load_and_their_gaps_are_told(traces: Path) -> None:
    loaded = load_cpu_usage(traces / "cpu_usage")
    assert loaded.bad == []
    for series in loaded.series.values():
        assert series.step in (300, 1800)
        assert np.isfinite(series.values).all()
        missing = sum(gap.missing for gap in series.gaps)
        assert len(series.times) + missing == round((series.times[-1] - series.times[0]) / series.step) + 1
    assert sum(len(series.gaps) for series in loaded.series.values()) > 0
