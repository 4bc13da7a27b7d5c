"""Takes a testbed's real nodes down when a process ends, however it ends: `python -m neaptide.testbed.realnodes.leash DIRECTORY PID`."""

import os
import select
import sys
from contextlib import suppress
from pathlib import Path

from neaptide.testbed import processes
from neaptide.testbed.processes import Process

_LOG = "leash.log"


def start(directory: Path, pid: int) -> Process:
    """Have a process of its own wait for that."""
    command = [sys.executable, "-m", "neaptide.testbed.realnodes.leash", str(directory), str(pid)]
    return processes.start(command, log=directory / "nodes" / _LOG, environment=os.environ)


def wait_and_take_down(directory: Path, pid: int) -> None:
    """Wait until a process has ended; then nobody is left to want the nodes."""
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])
    from neaptide.testbed.cluster import Testbed  # noqa: PLC0415 - the cluster knows this module
    from neaptide.testbed.realnodes.cluster import RealNodes  # noqa: PLC0415 - as above

    RealNodes(Testbed(directory)).down()


if __name__ == "__main__":
    wait_and_take_down(Path(sys.argv[1]), int(sys.argv[2]))
