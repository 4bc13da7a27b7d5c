"""`neaptide bill`: what virtual nodes cost, from the ledger, for people and as FOCUS."""

import csv
import sys
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from neaptide.cli.exits import OK, PARTIAL, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.pricing.bills import By, Charge, charges, total
from neaptide.pricing.bills import bill as lines_of
from neaptide.pricing.focus import DECIMALS, TIMES, Account, rows
from neaptide.records.ledger import NAME, leases_of
from neaptide.records.line import segments

_SUFFIXES = (".csv", ".parquet")


def bill(
    *,
    ledger: Path,
    by: By = "namespace",
    since: str = "",
    until: str = "",
    focus: Annotated[Path | None, Parameter(help="A .csv or .parquet file to write the charges to, as FOCUS.")] = None,
    account: str = "neaptide",
    output: Output = "table",
) -> int:
    """Print what virtual nodes cost. Days are UTC; a pod that runs is charged until now.

    Args:
        ledger: the directory with the ledger.
        by: what has a line: namespace, workload or day.
        since: the first day, as 2026-11-01; the first of the ledger by default.
        until: the day after the last; today's is the last by default.
        focus: where to write the charges as FOCUS, too.
        account: the BillingAccountId of those rows.
        output: table, json or yaml.
    """
    if not segments(ledger, NAME):
        raise UsageError(
            f"{ledger}: there is no ledger here; accepted: the directory that `neaptide virtual-node` was given"
        )
    if focus is not None and focus.suffix not in _SUFFIXES:
        raise unacceptable("--focus", focus, f"a file that ends in {' or '.join(_SUFFIXES)}")
    unreadable: list[object] = []
    leases = leases_of(ledger, on_corrupt=unreadable.append)
    first, last = _day("--since", since, 0.0), _day("--until", until, float("inf"))
    found = list(charges(leases.values(), time.time(), since=first, until=last))
    for each in unreadable:
        print(f"neaptide: {each}", file=sys.stderr)
    document: Any = {"by": by, "lines": lines_of(found, by), "total": total(found)}
    emit([*document["lines"], document["total"]] if output == "table" else document, output, title=f"Bill by {by}")
    left_out = _write(focus, found, Account(account)) if focus is not None else 0
    if left_out:
        print(f"neaptide: {left_out} charges have no known price and are not in {focus}", file=sys.stderr)
    return PARTIAL if unreadable or left_out else OK


def _day(flag: str, text: str, default: float) -> float:
    if not text:
        return default
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise unacceptable(flag, text, "a day such as 2026-11-01") from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _write(path: Path, found: list[Charge], account: Account) -> int:
    """Write the charges that have a price; how many have none."""
    content = list(rows(found, account))
    columns = list(content[0]) if content else []
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(content)
    else:
        _write_parquet(path, content, columns)
    return len(found) - len(content)


def _write_parquet(path: Path, content: list[dict[str, Any]], columns: Iterable[str]) -> None:
    try:
        from arro3.core import Array, DataType, Table
        from arro3.io import write_parquet
    except ImportError as error:
        raise UsageError(
            "Parquet needs the library arro3-io; accepted: pip install 'neaptide[parquet]', or a .csv file"
        ) from error
    arrays: dict[str, Any] = {}
    for column in columns:
        values = [row[column] for row in content]
        if column in TIMES:
            moments = [round(datetime.fromisoformat(each).timestamp() * 1_000_000) for each in values]
            arrays[column] = Array(moments, DataType.int64()).cast(DataType.timestamp("us", tz="UTC"))
        else:
            arrays[column] = Array(values, DataType.float64() if column in DECIMALS else DataType.utf8())
    write_parquet(Table.from_pydict(arrays), path)
