"""Reading rows."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.simulator.traces.fields import whole
from neaptide.simulator.traces.rows import NAME, NUMBER, TEXT, TraceError, read_rows

COUNT = whole(0)

CASES = {
    "a row that is too short": ("1,2,3\n4\n", "line 3", "(row)", "1 fields"),
    "a row that is too long": ("1,2,3\n4,5,6,7\n", "line 3", "(row)", "4 fields"),
    "a quote that is not closed spoils its row only": ('1,2,3\n4,"5,6\n7,8,9\n', "line 3", "(row)", '4,"5,6'),
    "bytes that are no UTF-8": ("1,\udcff2,3\n", "line 2", "b", "\\xff2"),
    "an infinite number": ("1,inf,3\n", "line 2", "b", "inf"),
    "a count below zero": ("-1,2,3\n", "line 2", "a", "-1"),
    "no name": ("1,2,\n", "line 2", "c", ""),
}


@pytest.mark.parametrize(("rows", "line", "field", "value"), CASES.values(), ids=CASES)
def test_a_wrong_row_is_reported_with_its_line_field_and_value(
    tmp_path: Path, rows: str, line: str, field: str, value: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(("a,b,c\n" + rows).encode(errors="surrogateescape"))
    read = read_rows(path, {"a": COUNT, "b": NUMBER, "c": NAME})
    assert [(each.object, each.field, each.value) for each in read.bad] == [(line, field, value)]
    assert len(read.lines) == rows.count("\n") - 1


def test_quoted_fields_blank_lines_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n1,"x,y"\r\n\r\n2,"z ""q"""\r\n')
    read = read_rows(path, {"b": TEXT, "a": COUNT}, optional={"c": (COUNT, 5)})
    assert read.columns == {"b": ["x,y", 'z "q"'], "a": [1, 2], "c": [5, 5]}
    assert read.lines == [2, 4]


WRONG_FILES = {
    "without a column": (b"b,c\n", "lacks a; found: b, c"),
    "with a column twice": (b"a,b,a\n", "names a twice"),
    "that is empty": (b"", "lacks a, b; found: nothing"),
    "whose header has an open quote": (b'a,"b\n', "header"),
}


@pytest.mark.parametrize(("content", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_file_that_cannot_be_used_is_an_error_that_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message):
        read_rows(path, {"a": COUNT, "b": TEXT})


def test_a_compressed_file_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(TraceError, match="cannot be read"):
        read_rows(path, {"a": COUNT})


@given(content=st.binary(max_size=200))
def test_every_line_after_the_header_is_used_or_reported_or_blank(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.csv"
    path.write_bytes(b"a,b\n" + content)
    read = read_rows(path, {"a": COUNT, "b": TEXT})
    lines = (b"a,b\n" + content).split(b"\n")[1:]
    blank = sum(not line.rstrip(b"\r") for line in lines)
    assert len(read.lines) + len(read.bad) == len(lines) - blank
