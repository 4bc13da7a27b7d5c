"""Usage of real services over time: one series a file with the columns timestamp and value, as the Numenta Anomaly
Benchmark (numenta/NAB, data/) publishes them: CPU utilisation in percent, request counts, network bytes, demand.

Times without an offset are read as UTC; the benchmark does not say in which zone it recorded.
"""

from pathlib import Path
from typing import NamedTuple

from neaptide.model.problems import LeftOut
from neaptide.simulator.traces.fields import TIME, show_time
from neaptide.simulator.traces.files import plain_name, read_files
from neaptide.simulator.traces.rows import NUMBER, bad_row, read_rows
from neaptide.simulator.traces.series import Series, make_series


class CpuUsage(NamedTuple):
    """What a directory holds.

    Attributes:
        series: by name, the file's without its ending; values in the unit of the file.
        bad: rows and files that were left out.
    """

    series: dict[str, Series]
    bad: list[LeftOut]


def load_cpu_usage(directory: Path) -> CpuUsage:
    """Read every series of a directory.

    Raises:
        TraceError: no file of the directory has a series.
    """
    return CpuUsage(*read_files(directory, read_series))


def read_series(path: Path) -> tuple[Series, list[LeftOut]]:
    """Read one file; rows in any order, of two rows with one time the first counts.

    Raises:
        TraceError: the file cannot be read or lacks a column.
    """
    rows = read_rows(path, {"timestamp": TIME, "value": NUMBER})
    times = rows.columns["timestamp"]
    series, again = make_series(plain_name(path), times, rows.columns["value"])
    return series, rows.bad + [
        bad_row(path, rows.lines[at], "timestamp", show_time(times[at]), "each time once in a series") for at in again
    ]
