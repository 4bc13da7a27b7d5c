"""`neaptide snapshot`: a cluster as a file, that file without its names, and that file as a cluster."""

import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from cyclopts import Parameter

from neaptide.cli.connection import DEFAULT, Connection, listing
from neaptide.cli.dump import read_objects
from neaptide.cli.exits import OK, PARTIAL, UsageError
from neaptide.model.anonymise import Anonymiser


def save(file: str, /, *, connection: Annotated[Connection, Parameter(name="*")] = DEFAULT) -> int:
    """Write the objects that policies read of a cluster, to a file for your eyes only.

    It holds everything of these objects, also environment values and annotations such as kubectl's last-applied-configuration, and
    nobody else may read it. To share a cluster, `anonymise` it.

    Args:
        file: where to; - for standard output. It is the List that `kubectl get -o json` prints, and `neaptide plan` reads it.
        connection: which cluster.
    """
    seen = listing(connection)
    count = _write(file, seen.items())
    for sentence in (*seen.unseen, *seen.unmeasured):
        print(f"neaptide: {sentence}", file=sys.stderr)
    print(f"neaptide: {count} objects", file=sys.stderr)
    return OK if count else PARTIAL


def anonymise(dump: str, file: str, /, *, salt: str | None = None) -> int:
    """Write a dump with every name hashed and nothing in it but what policies read.

    Args:
        dump: a file or a directory of cluster objects, or - for standard input.
        file: where to; - for standard output.
        salt: the same salt gives the same hashes, for two dumps of one cluster; by default another one each time. Keep it to yourself.
    """
    found, left_out = read_objects(dump)
    hashed = Anonymiser((salt or secrets.token_hex(16)).encode())
    documents = hashed.documents(each.item for each in found)
    count = _write(file, map(msgspec.json.encode, documents))
    for problem in left_out:
        print(f"neaptide: left out: {problem}", file=sys.stderr)
    print(f"neaptide: {count} objects", file=sys.stderr)
    return PARTIAL if left_out or not count else OK


def _write(file: str, items: Iterable[bytes]) -> int:
    """Write a List, object by object; how many there were. A file is there whole or not at all, and its owner's alone. Raises UsageError."""
    if file in ("-", "/dev/stdin"):  # the second is what the command line makes of the first
        return _write_to(sys.stdout.buffer, items)
    target = Path(file)
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with open(unfinished, "xb", opener=_private) as output:
            count = _write_to(output, items)
        unfinished.replace(target)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _write_to(output: BinaryIO, items: Iterable[bytes]) -> int:
    output.write(b'{"kind":"List","apiVersion":"v1","items":[')
    count = 0
    for count, item in enumerate(items, start=1):
        output.write(b"\n" if count == 1 else b",\n")
        output.write(item)
    output.write(b"\n]}\n")
    return count
