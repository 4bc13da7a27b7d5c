"""`make -s bench | python -m benchmarks.table DATE`: the lines of a run as the page docs/benchmarks.md."""

import json
import sys
from itertools import groupby
from typing import Any

INTRODUCTION = """# Benchmarks

`make bench` prints these figures, each with a peer or a bound from the same run where there is one, and says which miss their budget
(`benchmarks/budgets.yaml`); `make -s bench FIGURE=engine` prints those whose name begins so. Times are the best of several runs. This page
is `make -s bench | python -m benchmarks.table DATE`.
"""


def page(lines: list[dict[str, Any]], date: str) -> str:
    """The page for the lines of one run."""
    machine = lines[0]["machine"] if lines else "unknown"
    parts = [INTRODUCTION, f"\nMeasured on {date}: {machine}."]
    for room, rows in groupby(lines, key=lambda line: line["figure"].partition(".")[0]):
        parts.append(
            f"\n## {room}\n\n| figure | value | peer or bound | ratio | budget | met |\n| --- | ---: | --- | ---: | --- | --- |\n"
        )
        parts += [_row(line, room) for line in rows]
    return "\n".join(part.rstrip("\n") for part in parts if part.strip()) + "\n"


def _row(line: dict[str, Any], room: str) -> str:
    peer, budget = line["peer"], line["budget"] or {}
    cells = (
        line["figure"].removeprefix(f"{room}."),
        f"{_number(line['value'])} {line['unit']}",
        f"{peer['name']}: {_number(peer['value'])}" if peer else "",
        _number(line["ratio"]) if line["ratio"] is not None else "",
        ", ".join(f"{side} {_number(limit)}" for side, limit in budget.items()),
        {True: "yes", False: "**no**", None: ""}[line["ok"]],
    )
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    print(page([json.loads(line) for line in sys.stdin if line.strip()], sys.argv[1]), end="")
