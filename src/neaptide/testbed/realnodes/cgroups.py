"""A node's control groups: one group in every hierarchy of the machine, version 1 or 2, with everything of the node below it.

`NAME/system` holds the node's own processes, `NAME/kubepods` is the kubelet's. Every process of a node is in a group below NAME, so
that the groups alone tell what is to be ended and removed, whatever was forgotten.
"""

import errno
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from neaptide.model.cpusets import parse_cpus
from neaptide.testbed.errors import TestbedError

NEEDED = frozenset({"cpu", "cpuset", "memory", "pids"})
"""The controllers without which a kubelet does not start."""

SYSTEM = "system"
PODS = "kubepods"

_PAUSE = 0.02
_WITHIN = 20.0  # seconds for killed processes to be gone and groups to be empty


class Hierarchy(Struct, frozen=True):
    """A tree of control groups: where it is mounted and which controllers it has. Version 1 has many, version 2 one (`unified`)."""

    path: Path
    controllers: frozenset[str]
    unified: bool

    @property
    def delegates(self) -> bool:
        """Whether a group must be given its controllers by its parent: version 2, where version 1 does not hold them."""
        return self.unified and self.controllers >= NEEDED


def hierarchies(mounts: str) -> tuple[Hierarchy, ...]:
    """The hierarchies in a text like /proc/mounts; on a machine with both versions those of version 1 have the controllers."""
    found: dict[str, Hierarchy] = {}
    for line in mounts.splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == "cgroup":
            found.setdefault(options, Hierarchy(Path(path), frozenset(options.split(",")), unified=False))
        elif kind == "cgroup2":
            found.setdefault(kind, Hierarchy(Path(path), _words(Path(path) / "cgroup.controllers"), unified=True))
    return tuple(found.values())


def of_controller(trees: Iterable[Hierarchy], controller: str) -> Hierarchy:
    """The hierarchy that has a controller; `unified` names that of version 2.

    Raises:
        TestbedError: there is none.
    """
    for tree in trees:
        if controller in tree.controllers or (controller == "unified" and tree.unified):
            return tree
    raise TestbedError(f"no cgroup hierarchy of this machine has the controller {controller!r}")


def create(trees: Iterable[Hierarchy], name: str, cpus: str) -> None:
    """Make the groups of a node; `cpus` are those that its own processes may use, by default all."""
    for tree in trees:
        group = tree.path / name
        if tree.delegates:
            _enable(tree.path, tree.controllers)
        group.mkdir(exist_ok=True)
        if tree.delegates:
            _check_delegated(group)
            _enable(group, tree.controllers)
        (group / SYSTEM).mkdir(exist_ok=True)
        if "cpuset" not in tree.controllers:
            continue
        if tree.unified:
            (group / "cpuset.cpus").write_text(f"{cpus}\n")  # binds everything below, whatever the kubelet asks for
        else:
            for child in (group, group / SYSTEM):  # version 1 gives an empty set to a new group
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (child / file).write_text((child.parent / file).read_text())
            if cpus:
                (group / SYSTEM / "cpuset.cpus").write_text(cpus)


def delegated(trees: Iterable[Hierarchy]) -> dict[str, str]:
    """The controllers that each root gives to its groups now, for `take_back`; version 1 has no such thing."""
    files = (tree.path / "cgroup.subtree_control" for tree in trees if tree.delegates)
    return {str(file): file.read_text().strip() for file in files}


def take_back(before: Mapping[str, str]) -> None:
    """Let each root give its groups what it gave them before."""
    for file, controllers in before.items():
        for controller in sorted(set(Path(file).read_text().split()) - set(controllers.split())):
            with suppress(OSError):  # somebody else uses it by now
                Path(file).write_text(f"-{controller}")


def entrances(trees: Iterable[Hierarchy], name: str) -> list[Path]:
    """The files to write a process's number to, so that it belongs to the node's own."""
    return [tree.path / name / SYSTEM / "cgroup.procs" for tree in trees]


def pin_pods(trees: Iterable[Hierarchy], name: str, cpus: str) -> None:
    """Keep a node's pods to some CPUs. The kubelet sets all CPUs on version 1 when it starts: this comes after.

    Children come before their parents, as version 1 wants it; a group that is kept to fewer stays so.
    """
    tree = of_controller(trees, "cpuset")
    wanted = parse_cpus(cpus)
    if tree.unified or not wanted:
        return
    for group in _below(tree.path / name / PODS):
        if not parse_cpus((group / "cpuset.cpus").read_text()) <= wanted:
            (group / "cpuset.cpus").write_text(cpus)


def pods_are_set_up(trees: Iterable[Hierarchy], name: str) -> bool:
    """Whether the kubelet has made the groups of all quality classes."""
    pods = of_controller(trees, "cpuset").path / name / PODS
    return (pods / "burstable").exists() and (pods / "besteffort").exists()


def names(trees: Iterable[Hierarchy], prefix: str) -> set[str]:
    """The groups at the top whose names begin so."""
    return {group.name for tree in trees for group in tree.path.glob(f"{prefix}*") if group.is_dir()}


def own_processes(trees: Iterable[Hierarchy], name: str) -> set[int]:
    """A node's own processes: all but its pods'."""
    return {pid for tree in trees for pid in _processes(tree.path / name / SYSTEM)}


def program_of(pid: int) -> str:
    """What a process calls itself; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill(pid: int) -> None:
    """End a process at once."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def destroy(trees: Iterable[Hierarchy], name: str) -> None:
    """End every process of a node and remove its groups.

    Raises:
        TestbedError: something does not end.
    """
    tops = [tree.path / name for tree in trees]
    due = time.monotonic() + _WITHIN
    for top in tops:
        for group in _below(top):
            with suppress(OSError):  # version 1: a frozen process would not even die
                (group / "freezer.state").write_text("THAWED")
    while left := {pid for top in tops for pid in _processes(top)}:
        for pid in left:
            kill(pid)
        _pause(due, f"the processes {sorted(left)} of {name} do not end")
    for top in tops:
        while not _removed(top):
            _pause(due, f"{top} cannot be removed: something is in it")


def _enable(group: Path, controllers: Iterable[str]) -> None:
    """Give a group's children these controllers, one by one: one that is refused leaves the others."""
    for controller in sorted(controllers):
        with suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _check_delegated(group: Path) -> None:
    has = frozenset((group / "cgroup.controllers").read_text().split())
    if absent := sorted(NEEDED - has):
        raise TestbedError(
            f"{group.parent} does not give its groups the controllers {', '.join(absent)}; where this is a container, "
            "move its processes into a group below first, or give it the host's control groups"
        )


def _below(group: Path) -> Iterator[Path]:
    """A group and all below it, children first."""
    for folder, _, _ in os.walk(group, topdown=False):
        yield Path(folder)


def _processes(top: Path) -> Iterator[int]:
    for group in _below(top):
        with suppress(OSError):
            yield from (pid for pid in map(int, (group / "cgroup.procs").read_text().split()) if not _is_dead(pid))


def _is_dead(pid: int) -> bool:
    """Whether only the entry of a process is left, for its parent to ask for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except OSError:
        return True


def _removed(top: Path) -> bool:
    for group in _below(top):
        try:
            group.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True


def _pause(due: float, problem: str) -> None:
    if time.monotonic() > due:
        raise TestbedError(problem)
    time.sleep(_PAUSE)


def _words(file: Path) -> frozenset[str]:
    try:
        return frozenset(file.read_text().split())
    except OSError:
        return frozenset()
