"""Processes that outlive the command that started them: known by their number and the moment they began, so never mistaken."""

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from msgspec import Struct

State = Literal["running", "frozen", "ended"]

_PAUSE = 0.02  # seconds between two looks
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(Struct, frozen=True):
    """A process; `began` is in ticks since the machine's start, and tells it from a later one with the same number."""

    pid: int
    began: int


def start(command: list[str], *, log: Path, environment: Mapping[str, str]) -> Process:
    """Start a command in a session of its own, with what it prints appended to `log`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(
        command[0], command, environment, file_actions=actions, setsid=True, setsigdef=[signal.SIGPIPE]
    )
    _, began = _stat(pid)
    return Process(pid, began)


def state(process: Process) -> State:
    """Whether a process runs. It has ended when its last thread has, though its parent may not have asked for it yet."""
    letter, began = _stat(process.pid)
    if began != process.began:
        return "ended"
    if letter not in "ZX":
        return "frozen" if letter == "T" else "running"
    if _threads(process.pid) > 1:
        return "running"
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # buries it where it is a child of ours
    return "ended"


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to this process and to no other that got its number later."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if state(process) != "ended":
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def freeze(process: Process) -> None:
    """Stop a process in its tracks, and return when it stands still."""
    send(process, signal.SIGSTOP)
    while state(process) == "running":
        time.sleep(_PAUSE)


def thaw(process: Process) -> None:
    """Let a frozen process go on, and return when it does."""
    send(process, signal.SIGCONT)
    while state(process) == "frozen":
        time.sleep(_PAUSE)


def stop(processes: Iterable[Process], *, grace: float) -> None:
    """End processes: those that are still there `grace` seconds after SIGTERM are killed."""
    left = list(processes)
    for process in left:
        send(process, signal.SIGTERM)
        send(process, signal.SIGCONT)  # a frozen one would never hear of it
    due = time.monotonic() + grace
    while left and time.monotonic() < due:
        time.sleep(_PAUSE)
        left = [process for process in left if state(process) != "ended"]
    for process in left:
        kill(process)


def kill(process: Process) -> None:
    """End a process at once, and return when it has ended."""
    send(process, signal.SIGKILL)
    while state(process) != "ended":
        time.sleep(_PAUSE)


def resident_bytes(process: Process) -> int:
    """The memory that a process holds; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _stat(pid: int) -> tuple[str, int]:
    """The letter of a process's state and when it began; X and -1 where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "X", -1
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold spaces
    return fields[0], int(fields[19])


def _threads(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0
