"""The files of a data set: every CSV file of a directory, whatever its name."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from neaptide.model.problems import LeftOut
from neaptide.simulator.traces.rows import TraceError

T = TypeVar("T")


def read_files(directory: Path, read: Callable[[Path], tuple[T, list[LeftOut]]]) -> tuple[dict[str, T], list[LeftOut]]:
    """Read each `*.csv` and `*.csv.gz` of a directory, in order of names; `x.csv` hides an `x.csv.gz` beside it.

    Returns:
        What `read` made of each file, by the file's name without its endings; and what was left out: the rows that
        `read` reports, and whole files that could not be used.

    Raises:
        TraceError: there is no such directory, no such file in it, or none that could be used.
    """
    if not directory.is_dir():
        raise TraceError(f"{directory}: there is no such directory; accepted: a directory with CSV files, plain or .gz")
    paths = {plain_name(path): path for ending in ("*.csv.gz", "*.csv") for path in directory.glob(ending)}
    found: dict[str, T] = {}
    left_out: list[LeftOut] = []
    errors: list[str] = []
    for name, path in sorted(paths.items()):
        try:
            found[name], bad = read(path)
            left_out += bad
        except TraceError as error:
            errors.append(str(error))
            why = errors[-1].removeprefix(f"{path}: ")
            left_out.append(LeftOut(str(path), "whole file", "", why, "a CSV file with the columns of this data set"))
    if not found:
        raise TraceError("\n".join(errors) or f"{directory}: holds no CSV file; accepted: *.csv or *.csv.gz")
    return found, left_out


def plain_name(path: Path) -> str:
    """A file's name without .csv or .csv.gz."""
    return path.name.removesuffix(".gz").removesuffix(".csv")
