"""A cluster from what a user has at hand: a file, a directory of manifests, or standard input.

JSON and YAML are read, one object or a list to a document, whatever `kubectl get` or a deployment's repository holds.
"""

import codecs
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from neaptide.cli.exits import UsageError, unacceptable
from neaptide.model import objects
from neaptide.model.any_object import AnyObject
from neaptide.model.build import build
from neaptide.model.manifests import Found, from_json, from_yaml
from neaptide.model.metrics import apply_node_metrics
from neaptide.model.node_metric import NodeMetric
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds

SUFFIXES = (".json", ".yaml", ".yml")


class Dump(NamedTuple):
    """A cluster as it was written down.

    Attributes:
        snapshot: what could be used.
        left_out: what could not, and why.
        objects: how many objects of a known kind were read, those left out later included.
        now: the time it stands for, in seconds since the epoch.
        node_files: by name of a node, the file it stood in.
    """

    snapshot: ClusterSnapshot
    left_out: list[LeftOut]
    objects: int
    now: float
    node_files: dict[str, str]


def read_dump(path: str, *, usage: Iterable[str] = (), now: str | None = None) -> Dump:
    """Read a cluster from a file (`/dev/stdin` is one) or a directory, and from further files with its usage.

    `now` is an RFC 3339 time; by default it is the newest time at which an object of the dump was made, started or
    measured, so that a dump gives the same answer every day. Raises UsageError where there is nothing to read.
    """
    found, left_out = read_objects(path)
    for further in usage:
        more, problems = read_objects(further)
        found, left_out = found + more, left_out + problems
    snapshot, unusable = build(found)
    time = newest_time(each.item for each in found) if now is None else _time_of_flag(now)
    unusable += apply_node_metrics(snapshot, time)
    files = {each.item.metadata.name: each.file for each in reversed(found) if isinstance(each.item, objects.Node)}
    return Dump(snapshot, left_out + unusable, len(found), time, files)


def read_objects(path: str) -> tuple[list[Found], list[LeftOut]]:
    """The objects of a file, of every .json, .yaml and .yml file below a directory, or of standard input."""
    found: list[Found] = []
    left_out: list[LeftOut] = []
    for file, data in _contents(path):
        if isinstance(data, LeftOut):
            left_out.append(data)
            continue
        objects_there, problems = parse(data, file)
        found += objects_there
        left_out += problems
    return found, left_out


def parse(data: bytes, file: str) -> tuple[list[Found], list[LeftOut]]:
    """The objects of one file: JSON by its name or, where the name does not say, by its first character; else YAML."""
    data = _as_utf8(data)
    suffix = Path(file).suffix.lower()
    try:
        if suffix == ".json" or (suffix not in SUFFIXES and data.lstrip()[:1] in (b"{", b"[")):
            return from_json(data, file)
        return from_yaml(data.decode(), file)
    except UnicodeDecodeError as error:
        return [], [LeftOut(file, "", "", repr(data[error.start : error.start + 20]), "text in UTF-8 or UTF-16")]
    except RecursionError:
        return [], [LeftOut(file, "", "", "lists in lists without end", "objects nested as those of Kubernetes are")]


def newest_time(items: Iterable[AnyObject]) -> float:
    """The latest time in some objects, apart from deletions (which are announced ahead); 0 where none has a time."""
    newest = 0.0
    for item in items:
        for text in _times(item):
            try:
                time = seconds(text)
            except FieldError:  # the snapshot reports it with its object
                continue
            newest = newest if math.isnan(time) else max(newest, time)
    return newest


def _times(item: AnyObject) -> tuple[str | None, ...]:
    created = item.metadata.creation_timestamp
    match item:
        case objects.Pod():
            return created, item.status.start_time
        case objects.Node():
            return created, *(each.last_heartbeat_time for each in item.status.conditions)
        case objects.PodMetrics() | objects.NodeMetrics():
            return created, item.timestamp
        case NodeMetric():
            return created, item.status.update_time
        case _:
            return (created,)


def _time_of_flag(text: str) -> float:
    try:
        return seconds(text)
    except FieldError as error:
        raise unacceptable("--now", text, error.accepted) from error


def _contents(path: str) -> Iterator[tuple[str, bytes | LeftOut]]:
    """File by file, what it holds or why it cannot be read."""
    if not Path(path).is_dir():
        try:
            data = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path}: {_why(error)}; accepted: a file, a directory, or - for standard input"
            ) from error
        yield path, data
        return
    files = list(_manifests(path))
    if not files:
        raise UsageError(f"{path}: no manifest is there; accepted: a directory with {', '.join(SUFFIXES)} files")
    for file in files:
        try:
            yield file, Path(file).read_bytes()
        except OSError as error:
            yield file, LeftOut(file, "", "", _why(error), "a file that can be read")


def _manifests(directory: str) -> Iterator[str]:
    for place, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (str(Path(place, name)) for name in sorted(files) if name.lower().endswith(SUFFIXES))


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _as_utf8(data: bytes) -> bytes:
    """Without a byte order mark; from UTF-16, which PowerShell writes."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)
