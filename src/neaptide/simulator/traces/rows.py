"""Reading a table of comma-separated values, one record a line, with a report of every row that was wrong.

`read_rows(path, {"value": NUMBER, "name": TEXT})` gives the columns of the rows that were right, and a `LeftOut` for each other.
A wrong row is left out of the columns as a whole; a wrong file (absent, cut short, without a column) is a `TraceError`.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from neaptide.model.problems import LeftOut


class TraceError(ValueError):
    """A trace that cannot be used at all; its message names the file, what is wrong and what is accepted."""


class Parser(NamedTuple):
    """How a field is read: `parse` raises ValueError for a text that is not `accepted` (words for the report)."""

    parse: Callable[[str], Any]
    accepted: str


class Rows(NamedTuple):
    """The right rows as columns of one length, the line each of them stood on, and the wrong rows."""

    columns: dict[str, list[Any]]
    lines: list[int]
    bad: list[LeftOut]


def read_rows(
    path: Path, columns: Mapping[str, Parser], *, optional: Mapping[str, tuple[Parser, Any]] | None = None
) -> Rows:
    """Read the named columns of a CSV file (plain or .gz, UTF-8, header first); other columns are passed over.

    Args:
        path: the file.
        columns: what the file must have, by name.
        optional: what it may have: name -> (parser, the value of every row where the file lacks the column).

    Raises:
        TraceError: the file cannot be read, is empty, or its header lacks a column or names one twice.
    """
    optional = optional or {}
    lines = _lines(path)
    header = _header(path, next(lines, ""))
    _check_header(path, header, columns, optional)
    parsers = {**columns, **{name: parser for name, (parser, _) in optional.items()}}
    fields = [(header.index(name), name, parser) for name, parser in parsers.items() if name in header]

    rows: list[list[Any]] = []
    numbers: list[int] = []
    bad: list[LeftOut] = []
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        try:
            rows.append(_parse(line, len(header), fields))
            numbers.append(number)
        except _WrongFieldError as error:
            bad.append(bad_row(path, number, *error.what))

    found = dict(zip((name for _, name, _ in fields), zip(*rows, strict=True), strict=True)) if rows else {}
    absent = {name: default for name, (_, default) in optional.items() if name not in header}
    result = {name: [absent[name]] * len(rows) if name in absent else list(found.get(name, ())) for name in parsers}
    return Rows(result, numbers, bad)


def bad_row(path: Path, line: int, field: str, value: object, accepted: str) -> LeftOut:
    """The record of a row that was left out; line 1 is the header."""
    return LeftOut(str(path), f"line {line}", field, str(value), accepted)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _non_empty(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


NUMBER = Parser(_finite, "a finite number")
TEXT = Parser(str, "any text")
NAME = Parser(_non_empty, "a text that is not empty")


class _WrongFieldError(Exception):
    def __init__(self, field: str, value: str, accepted: str) -> None:
        super().__init__(field)
        self.what = (field, value, accepted)


def _parse(line: str, width: int, fields: list[tuple[int, str, Parser]]) -> list[Any]:
    try:
        texts = _split(line)
    except csv.Error:
        raise _WrongFieldError("(row)", line[:100], "quotes that close on the same line") from None
    if len(texts) != width:
        raise _WrongFieldError("(row)", f"{len(texts)} fields", f"{width} fields, as in the header")
    values = []
    for index, name, parser in fields:
        text = texts[index].strip()
        try:
            values.append(parser.parse(text))
        except (ValueError, OverflowError):
            raise _WrongFieldError(name, text[:100], parser.accepted) from None
    return values


def _split(line: str) -> list[str]:
    """One line into fields; a record never runs over lines, so that a stray quote spoils one row and not the rest."""
    return line.split(",") if '"' not in line else next(csv.reader([line], strict=True))


def _lines(path: Path) -> Iterator[str]:
    # Bytes that are not UTF-8 stay visible in the report as \xNN.
    how = {"mode": "rt", "encoding": "utf-8-sig", "errors": "backslashreplace", "newline": "\n"}
    try:
        with gzip.open(path, **how) if path.suffix == ".gz" else path.open(**how) as file:  # type: ignore[call-overload]
            for line in file:
                yield line.rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(f"{path}: cannot be read ({error}); accepted: a readable CSV file, plain or .gz") from error


def _header(path: Path, line: str) -> list[str]:
    try:
        return [name.strip() for name in _split(line)]
    except csv.Error:
        raise TraceError(f"{path}: the header {line[:100]!r} leaves a quote open; accepted: names and commas") from None


def _check_header(
    path: Path, header: list[str], columns: Mapping[str, Parser], optional: Mapping[str, tuple[Parser, Any]]
) -> None:
    found = ", ".join(header)
    if missing := [name for name in columns if name not in header]:
        raise TraceError(f"{path}: the header lacks {', '.join(missing)}; found: {found or 'nothing'}")
    if twice := [name for name in (*columns, *optional) if header.count(name) > 1]:
        raise TraceError(
            f"{path}: the header names {', '.join(twice)} twice; accepted: each column once; found: {found}"
        )
