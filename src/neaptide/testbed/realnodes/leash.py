"""Takes a testbed's real nodes down when a process ends, however it ends: `python -m neaptide.testbed.realnodes.leash [--host] DIRECTORY PID`."""

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
    _wait(pid)
    from neaptide.testbed.cluster import Testbed  # noqa: PLC0415 - the cluster knows this module
    from neaptide.testbed.realnodes.cluster import RealNodes  # noqa: PLC0415 - as above

    RealNodes(Testbed(directory)).down()


def wait_and_take_host_down(folder: Path, pid: int) -> None:
    """The same for a host of containers, which may have gone by then."""
    _wait(pid)
    from neaptide.testbed.realnodes.container_host import ContainerHost  # noqa: PLC0415 - as above

    if folder.exists():
        ContainerHost(folder).down()


def _wait(pid: int) -> None:
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])


if __name__ == "__main__":
    if sys.argv[1] == "--host":
        wait_and_take_host_down(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        wait_and_take_down(Path(sys.argv[1]), int(sys.argv[2]))
