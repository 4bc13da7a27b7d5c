"""A machine within the machine: a mount namespace in which the usual paths are the node's own, and the processes in it.

A process that does nothing keeps the namespace; containerd, kubelet, shims and pods join it. The mounts of a node are seen in its
namespace alone and go with its last process: nothing is ever unmounted. The kernel's settings that a kubelet or a network plugin
would change for the whole machine are covered by files that hold what they want to find.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neaptide.testbed import processes
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.processes import Process
from neaptide.testbed.realnodes import cgroups
from neaptide.testbed.realnodes.host import Host, search_path

_COVERED = {"/run": "run", "/var/lib": "var-lib", "/var/log": "var-log"}
"""Folders that are the node's own, and where in its folder they are."""

_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
    "net/ipv4/ip_forward": "1",
}
"""What a kubelet and the CNI plugins want to find below /proc/sys; finding it, they write nothing."""

STARTERS = ("sh", "nsenter")
"""What a process of a node is before it becomes its program."""

_ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit; shift; done; shift; exec "$@"'
"""Join the groups, then become the command."""

_SET_UP = """\
set -e
cd "$1"; shift
mount -n --bind "$1" run/programs; shift
for name in $(cd proc-sys && find . -type f); do
  if [ -e "/proc/sys/$name" ]; then mount -n --bind "proc-sys/$name" "/proc/sys/$name"; fi
done
while [ $# -gt 0 ]; do mount -n --no-canonicalize --rbind "$1" "$2"; shift 2; done
mount -n --make-rshared /
touch /run/machine-is-up
exec sleep infinity
"""
_WITHIN = 20.0
_PAUSE = 0.01
_TAIL = 5


class Machine(NamedTuple):
    """Where a node lives: its folder, the name of its control groups, and what the host offers."""

    folder: Path
    cgroup: str
    host: Host

    def inside(self, path: str) -> Path:
        """Where on this machine a path of the node is; only those below /run, /var/lib and /var/log are the node's own."""
        for covered, own in _COVERED.items():
            if path == covered or path.startswith(f"{covered}/"):
                return self.folder / own / path[len(covered) + 1 :]
        return Path(path)

    def log(self, program: str) -> Path:
        """What one of the node's own processes printed."""
        return self.folder / f"{program}.log"

    def begin(self, programs: Path, cpus: str) -> Process:
        """Begin with an empty disk: make folders, control groups and the namespace; gives the process that keeps it.

        Raises:
            TestbedError: it cannot be set up.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        for own in (*_COVERED.values(), "run/programs", "run/netns", "run/cni", "var-lib/kubelet/pki", "var-log/pods"):
            (self.folder / own).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, value in _SETTINGS.items():
            file = self.folder / "proc-sys" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        cgroups.create(self.host.hierarchies, self.cgroup, cpus)
        covers = [word for covered, own in _COVERED.items() for word in (own, covered)]
        shell = ["/bin/sh", "-c", _SET_UP, "machine", str(self.folder), str(programs), *covers]
        command = [self.host.programs["unshare"], "--mount", "--propagation", "private", *shell]
        keeper = self._start("machine", command)
        wait_until(
            self.inside("/run/machine-is-up").exists, keeper, self.log("machine"), f"the machine of {self.cgroup}"
        )
        return keeper

    def start(self, keeper: Process, program: str, command: list[str]) -> Process:
        """Start one of the node's own programs in its namespace and groups."""
        enter = [self.host.programs["nsenter"], f"--mount=/proc/{keeper.pid}/ns/mnt", "--wd=/"]
        return self._start(program, [*enter, *command])

    def end(self) -> None:
        """End all that runs in it, as when the power goes; its folder stays."""
        cgroups.destroy(self.host.hierarchies, self.cgroup)

    def _start(self, program: str, command: list[str]) -> Process:
        doors = [str(door) for door in cgroups.entrances(self.host.hierarchies, self.cgroup)]
        environment = {"PATH": search_path(), "HOME": "/root"}
        entering = ["/bin/sh", "-c", _ENTER, program, *doors, "--", *command]
        return processes.start(entering, log=self.log(program), environment=environment)


def wait_until(met: Callable[[], bool], process: Process, log: Path, program: str) -> None:
    """Wait for a condition, as long as the process that is to bring it about lives.

    Raises:
        TestbedError: the process ended, or it took too long; with the end of its log.
    """
    due = time.monotonic() + _WITHIN
    while not met():
        ended = processes.state(process) == "ended"
        if ended or time.monotonic() > due:
            problem = "ended" if ended else f"was not ready after {_WITHIN:.0f} seconds"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
            raise TestbedError(f"{program} {problem}; the end of {log}:\n{tail}")
        time.sleep(_PAUSE)
