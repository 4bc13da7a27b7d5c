"""A day of a generative-AI serving system (alibaba/clusterdata, cluster-trace-v2026-GenAI): one metric a file, with the
columns timestamp, container and value, of which every container has a series.

Milliseconds in the latencies (queue_rt, model_predict, *_update_latency), requests a second in qps (scaled by the
publisher), tasks in queue_size, GPU duty cycle in percent, GPU memory in bytes; memory utilisation is a fraction, though
the publisher says percent. Times are seconds since the epoch, shifted by the publisher.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from neaptide.model.problems import LeftOut
from neaptide.simulator.traces.fields import AMOUNT, NAME_OR_UNKNOWN, SECONDS
from neaptide.simulator.traces.files import read_files
from neaptide.simulator.traces.rows import TEXT, Rows, TraceError, bad_row, read_rows
from neaptide.simulator.traces.series import Series, make_series

# What the columns of times and containers are called in extracts and in the publisher's own archives.
_SPELLINGS = (("timestamp", "container"), ("timestamp_anon", "container_ip"))


class GenAI(NamedTuple):
    """What a directory holds.

    Attributes:
        metrics: metric -> container -> series. A metric has its file's name; one with request types is split into
            `name/type`. The container "" is the system as a whole, or one that is not known.
        bad: rows and files that were left out.
    """

    metrics: dict[str, dict[str, Series]]
    bad: list[LeftOut]


def load_genai(directory: Path) -> GenAI:
    """Read every metric of a directory.

    Raises:
        TraceError: no file of the directory has a metric.
    """
    files, bad = read_files(directory, read_metric)
    return GenAI(
        {
            f"{name}/{kind}" if kind else name: containers
            for name, kinds in files.items()
            for kind, containers in kinds.items()
        },
        bad,
    )


def read_metric(path: Path) -> tuple[dict[str, dict[str, Series]], list[LeftOut]]:
    """Read one file: request type ("" where the file tells none) -> container -> series, and the rows left out.

    Of two samples of one series at one time the first counts.

    Raises:
        TraceError: the file cannot be read or lacks a column.
    """
    rows, time, container = _read(path)
    times, values = rows.columns[time], rows.columns["value"]
    positions: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for at, key in enumerate(zip(rows.columns["request_type"], rows.columns[container], strict=True)):
        positions[key].append(at)

    kinds: defaultdict[str, dict[str, Series]] = defaultdict(dict)
    bad = list(rows.bad)
    for (kind, name), where in sorted(positions.items()):
        series, again = make_series(name, [times[at] for at in where], [values[at] for at in where])
        kinds[kind][name] = series
        for at in again:
            line, when = rows.lines[where[at]], times[where[at]]
            bad.append(bad_row(path, line, time, f"{when:.0f}", f"each time once for the container {name!r}"))
    return dict(kinds), bad


def _read(path: Path) -> tuple[Rows, str, str]:
    """The rows, and what the file calls the columns of times and of containers; an error speaks of the first spelling."""
    errors = []
    for time, container in _SPELLINGS:
        try:
            columns = {time: SECONDS, container: NAME_OR_UNKNOWN, "value": AMOUNT}
            return read_rows(path, columns, optional={"request_type": (TEXT, "")}), time, container
        except TraceError as error:
            errors.append(error)
    raise errors[0]
