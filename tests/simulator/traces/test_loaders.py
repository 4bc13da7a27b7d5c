"""What holds for every loader of traces."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neaptide.simulator.traces.cpu_usage import load_cpu_usage
from neaptide.simulator.traces.dlrm import load_dlrm
from neaptide.simulator.traces.genai import load_genai
from neaptide.simulator.traces.llm_requests import load_llm_requests
from neaptide.simulator.traces.registry import LOADERS
from neaptide.simulator.traces.rows import TraceError


class Case(NamedTuple):
    load: Callable[[Path], Any]
    header: str
    right: str  # a row
    wrong: str  # a row
    field: str  # that is wrong in it


DLRM_HEADER = (
    "instance_sn,role,app_name,cpu_request,gpu_request,memory_request,max_instance_per_node,"
    "creation_time,scheduled_time,deletion_time"
)
CASES = {
    "cpu_usage": Case(load_cpu_usage, "timestamp,value", "2014-02-14 14:27:00,1.5", "2014-02-14 14:32:00,inf", "value"),
    "genai": Case(
        load_genai, "timestamp,container,value", "1662859290,086b31f8,2639.0", "1662859347,086b31f8,-1", "value"
    ),
    "llm_requests": Case(
        load_llm_requests,
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:17:03.9799600,4808,10",
        "2023-11-16 18:17:03.9799600,4808,99999999999999999999",
        "GeneratedTokens",
    ),
    "dlrm": Case(
        load_dlrm,
        DLRM_HEADER,
        "instance_1,HN,app_0,12,1,120.0,8,,,",
        "instance_2,HN,app_0,12,1,-120.0,8,,,",
        "memory_request",
    ),
}
# openb is a node list and one of several workloads: its test stands on its own.
each_loader = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_every_loader_of_the_registry_is_tested() -> None:
    assert {name for name, _ in LOADERS} == CASES.keys() | {"openb"}


@pytest.mark.parametrize(("name", "load"), LOADERS, ids=[name for name, _ in LOADERS])
def test_every_loader_reads_its_folder_of_the_public_traces(name: str, load: Any, traces: Path) -> None:
    assert all(left_out.object.startswith("line ") for left_out in load(traces / name).bad)


@each_loader
def test_a_wrong_row_is_reported_with_file_line_field_and_value_and_the_others_are_used(
    case: Case, tmp_path: Path
) -> None:
    (tmp_path / "any-name.csv").write_text(f"{case.header}\n{case.right}\n{case.wrong}\n")
    (left_out,) = case.load(tmp_path).bad
    assert (left_out.file, left_out.object, left_out.field) == (str(tmp_path / "any-name.csv"), "line 3", case.field)
    assert left_out.value in case.wrong
    assert left_out.accepted


@each_loader
def test_a_file_without_a_column_is_an_error_that_names_file_missing_and_found_columns(
    case: Case, tmp_path: Path
) -> None:
    first, *others = case.header.split(",")
    (tmp_path / "x.csv").write_text(",".join(others) + "\n")
    with pytest.raises(TraceError) as error:
        case.load(tmp_path)
    message = str(error.value)
    assert str(tmp_path / "x.csv") in message
    assert f"lacks {first}" in message
    assert others[0] in message


@each_loader
def test_a_file_of_another_kind_beside_a_right_one_is_reported_and_passed_over(case: Case, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("colour\nblue\n")
    (tmp_path / "b.csv").write_text(f"{case.header}\n{case.right}\n")
    (left_out,) = case.load(tmp_path).bad
    assert left_out.file == str(tmp_path / "a.csv")
    assert "colour" in left_out.value


@each_loader
def test_a_compressed_file_reads_as_the_plain_one_and_is_not_read_twice_beside_it(case: Case, tmp_path: Path) -> None:
    text = f"{case.header}\n{case.right}\n"
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(text.encode()))
    compressed = case.load(tmp_path)
    (tmp_path / "x.csv").write_text(text)
    assert repr(case.load(tmp_path)) == repr(compressed)


@each_loader
def test_an_empty_directory_and_one_that_is_not_there_are_errors_that_name_it(case: Case, tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(TraceError, match=str(directory)):
            case.load(directory)


@each_loader
def test_a_file_with_a_header_and_no_rows_is_an_empty_trace(case: Case, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{case.header}\n")
    assert case.load(tmp_path).bad == []


ODD_NUMBERS = ["-1", "0", "1", "1e308", "1e-320", "nan", "inf", "9" * 30, "1_0", "٣", " 5 "]
ODD_TIMES = ["2014-02-14", "0001-01-01", "9999-12-31T23:59:59+14:00", "0001-01-01T00:00:00+23:59"]
odd_fields = st.sampled_from([*ODD_NUMBERS, *ODD_TIMES, "", "None", '"', "\x00"])


@each_loader
@given(content=st.binary(max_size=300))
@settings(max_examples=60)
def test_random_bytes_stop_nothing(
    case: Case,
    content: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("fuzz")
    for name, text in {
        "raw.csv": content,
        "headed.csv": case.header.encode() + b"\n" + content,
        "z.csv.gz": content,
    }.items():
        (directory / name).write_bytes(text)
    assert case.load(directory).bad is not None  # headed.csv can always be used


@each_loader
@given(data=st.data())
@settings(max_examples=60)
def test_every_random_row_is_either_used_or_reported(
    case: Case,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    width = len(case.header.split(","))
    good = st.sampled_from([dict(enumerate(case.right.split(",")))])
    rows = data.draw(
        st.lists(st.tuples(good, st.dictionaries(st.integers(0, width - 1), odd_fields, max_size=2)), max_size=8)
    )
    lines = [",".join((base | changed)[at] for at in range(width)) for base, changed in rows]
    directory = tmp_path_factory.mktemp("rows")
    (directory / "x.csv").write_text("\n".join([case.header, *lines]), encoding="utf-8")
    loaded = case.load(directory)
    assert _count(loaded) + len(loaded.bad) == len(lines)


def _count(loaded: Any) -> int:
    match type(loaded).__name__:
        case "CpuUsage":
            return sum(len(series.times) for series in loaded.series.values())
        case "GenAI":
            return sum(len(series.times) for metric in loaded.metrics.values() for series in metric.values())
        case "LlmRequests":
            return sum(len(service.arrivals) for service in loaded.services.values())
        case _:
            return len(loaded.names)
