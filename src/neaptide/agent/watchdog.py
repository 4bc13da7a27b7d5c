"""Watches over an agent from a process of its own, and gives services back what they had where it dies or hangs.

What an agent leaves in force is safe for services where it holds back best-effort pods alone. What is not safe to leave is what it wrote to services:
a CPU set that nobody widens again, a limit that nobody lowers again. The agent says after each round which files these are, through a pipe; where
it ends without a word, or says nothing for too long, they get their originals back. All else is left to the next agent.
"""

import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from neaptide.agent.files import Files
from neaptide.agent.originals import Originals
from neaptide.agent.reconcile import Reconciler

SILENT_FOR = 30.0
"""Seconds without a word after which an agent hangs: a round takes milliseconds, and comes each second."""
DIED = 1
_PR_SET_PDEATHSIG = 1
_MOST = 1 << 16

Heartbeat = Callable[[Collection[str]], None]


def watched(
    run: Callable[[Heartbeat], int],
    restore: Callable[[Collection[str]], None],
    say: Callable[[str], None],
    *,
    silent_for: float = SILENT_FOR,
) -> int:
    """Run an agent in a process of its own; its exit code, or DIED where it died or hung.

    Args:
        run: the agent; it calls what it is given after each round with the files of services that it has written.
        restore: gives such files their originals back.
        say: takes a sentence for the log.
        silent_for: seconds without a word after which it is killed.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os._exit(_guarded(run, writing, parent))
    os.close(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: _send(child, got))
    last, hung = _listen(reading, silent_for)
    os.close(reading)
    if hung:
        say(f"the agent has said nothing for {silent_for:g} s and is ended")
        _send(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    say(
        f"the agent was ended by signal {os.WTERMSIG(status)}; {len(last)} files of services get back what they said before"
    )
    restore(last)
    return DIED


def restore_services(state: Path, boot: str, version: int, paths: Collection[str]) -> list[str]:
    """Give some files that an agent has written their originals back; those that refused. Raises LogInUseError: another agent keeps the node."""
    originals = Originals(state, boot)
    files = Files()
    try:
        reconciler = Reconciler(files, originals, nests=version == 1)
        return [change.path for change in reconciler.give_back(paths) if change.problem not in ("", "is gone")]
    finally:
        files.close()
        originals.close()


def _guarded(run: Callable[[Heartbeat], int], writing: int, parent: int) -> int:
    """The agent's process: it ends when its watchdog does, however that ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return DIED
    told: Collection[str] = ()

    def heartbeat(paths: Collection[str]) -> None:
        nonlocal told
        line = b"\n" if paths == told else json.dumps(sorted(paths)).encode() + b"\n"
        told = paths
        with suppress(OSError):
            while line:
                line = line[os.write(writing, line) :]

    try:
        return run(heartbeat)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else DIED
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends with it, and its watchdog acts
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        return DIED


def _listen(reading: int, silent_for: float) -> tuple[Collection[str], bool]:
    """The files that were last told of, and whether it hung, else ended."""
    last: Collection[str] = ()
    rest = b""
    said = select.poll()  # `select` itself takes no number above 1023
    said.register(reading, select.POLLIN)
    while True:
        if not said.poll(silent_for * 1000):
            return last, True
        got = os.read(reading, _MOST)
        if not got:
            return last, False
        *lines, rest = (rest + got).split(b"\n")
        for line in lines:
            if line:
                last = json.loads(line)


def _send(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)
