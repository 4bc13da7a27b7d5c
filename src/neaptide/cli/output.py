"""How commands print: `emit` writes rows or a document as a table for people, as JSON or as YAML for programs.

JSON and YAML go to standard output with nothing else there; NaN and infinities, which neither JSON nor a reader can use, become null.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

Output = Literal["table", "json", "yaml"]


def emit(
    content: Sequence[Any] | Mapping[str, Any] | msgspec.Struct,
    output: Output = "table",
    *,
    title: str = "",
    columns: Sequence[str] = (),
) -> None:
    """Print `content` on standard output.

    Args:
        content: rows (mappings or structs), or one document (a mapping or struct) whose lists of rows become tables of their own.
        output: table, json or yaml.
        title: stands above the table.
        columns: which columns of rows a table shows and in what order; by default all. JSON and YAML always hold all.
    """
    plain = msgspec.json.encode(content, enc_hook=_numpy_to_plain)
    if output == "json":
        print(msgspec.json.format(plain, indent=2).decode())
        return
    value = msgspec.json.decode(plain)
    if output == "yaml":
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
        return
    from rich.console import Console

    console = Console(highlight=False)
    tables = _tables_of_document(value, title) if isinstance(value, dict) else [_table_of_rows(value, title, columns)]
    for table in tables:
        print_whole(console, table)


def _numpy_to_plain(value: object) -> object:
    """Numpy scalars and arrays without importing numpy; anything else is the caller's mistake."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise NotImplementedError(f"cannot print a {type(value).__name__}")


def _tables_of_document(document: dict[str, Any], title: str) -> "list[Table]":
    facts = []
    tables = []
    for key, value in _flatten(document):
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            tables.append(_table_of_rows(value, f"{key.replace('_', ' ')} ({len(value)})", ()))
        else:
            facts.append({"": key.replace("_", " "), " ": "none" if value in ([], {}) else value})
    return [_table_of_rows(facts, title, ()), *tables] if facts else tables


def _flatten(document: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in document.items():
        if isinstance(value, dict) and value:
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found


def _table_of_rows(rows: list[dict[str, Any]], title: str, columns: Sequence[str]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = list(columns) or list(dict.fromkeys(name for row in rows for name in row))
    table = Table(
        title=title or None, title_justify="left", box=box.SIMPLE_HEAD, show_header=any(name.strip() for name in names)
    )
    for name in names:
        values = [row.get(name) for row in rows]
        numeric = any(_is_number(value) for value in values) and all(
            value is None or _is_number(value) for value in values
        )
        table.add_column(Text(name.replace("_", " ")), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in names))
    return table


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    """Text of one cell: unknown is a dash, floats show six significant digits, nested values stay JSON."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
        case list() if all(not isinstance(item, dict | list) for item in value):
            return ", ".join(_cell(item) for item in value)
        case _:
            return msgspec.json.encode(value).decode()


def print_whole(console: "Console", what: "RenderableType") -> None:
    """As wide as the terminal; in a pipe as wide as it is, so that `grep` finds whole lines."""
    if not console.is_terminal:
        console.width = max(console.width, console.measure(what, options=console.options.update(width=10_000)).maximum)
    console.print(what)
