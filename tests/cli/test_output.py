"""What commands print, for people and for programs."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from neaptide.cli.output import emit


class Row(msgspec.Struct):
    node: str
    cpu: float | None = None


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any, **options: Any) -> str:
    emit(*arguments, **options)
    return capsys.readouterr().out


def test_json_and_yaml_hold_all_and_unknown_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"rows": [Row("n1", 1.5), Row("n2")], "nan": float("nan"), "text": "ü [bold]"}
    expected = {"rows": [{"node": "n1", "cpu": 1.5}, {"node": "n2", "cpu": None}], "nan": None, "text": "ü [bold]"}
    assert json.loads(printed(capsys, content, "json")) == expected
    assert yaml.safe_load(printed(capsys, content, "yaml")) == expected


def test_numpy_numbers_and_arrays_are_printed_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"count": np.int64(3), "price": np.float64(0.5), "array": np.arange(3), "nan": np.float32("nan")}
    assert json.loads(printed(capsys, content, "json")) == {"count": 3, "price": 0.5, "array": [0, 1, 2], "nan": None}


def test_a_value_that_cannot_be_printed_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotImplementedError, match="cannot print a object"):
        emit([{"value": object()}], "json")
    assert capsys.readouterr().out == ""


def test_a_table_aligns_numbers_right_and_shows_unknown_as_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"node": "a", "pods": 5, "ok": True},
        {"node": "b [red]", "pods": None, "ok": False},
        {"node": "c", "pods": 12000},
    ]
    lines = [line.rstrip() for line in printed(capsys, rows, title="Nodes").splitlines()]
    assert lines[0] == "Nodes"
    assert lines[2] == "  node       pods   ok"
    assert lines[4:7] == ["  a             5   yes", "  b [red]       -   no", "  c         12000   -"]


def test_a_table_shows_the_columns_asked_for_in_that_order(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, [{"a": 1, "long_name": 2, "b": 3}], columns=["long_name", "a"])
    assert out.split()[:3] == ["long", "name", "a"]
    assert "3" not in out


def test_a_documents_lists_are_tables_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "money": {"now": 1.25, "planned": None},
        "left_out": [],
        "actions": [{"kind": "drain", "pods": ["a", "b"]}],
    }
    lines = [" ".join(line.split()) for line in printed(capsys, document, title="Plan").splitlines()]
    assert lines[0] == "Plan"
    assert {"money.now 1.25", "money.planned -", "left out none", "actions (1)", "drain a, b"} <= set(lines)


def test_a_pipe_gets_whole_lines_however_wide(capsys: pytest.CaptureFixture[str]) -> None:
    assert "x" * 300 in printed(capsys, [{"reason": "x" * 300, "n": 1.23456789e9}])
