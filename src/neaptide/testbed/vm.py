"""A small machine for what this one's kernel cannot show: version 2 of control groups, hyper-threads, NUMA nodes, disks of its own.

It runs Debian's kernel under qemu, by software where nothing else is there, sees this machine's file system read-only (9p), and runs one command in
it, as with this machine's own Python. It starts about twenty times slower than here: it is for what a kernel does, not for how fast.
"""

import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.initramfs import initramfs, module_files
from neaptide.testbed.realnodes.host import search_path

_PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio", "gzip": "gzip"}
"""The Debian package of each."""
_KERNEL = "vmlinuz-"
_KERNEL_PACKAGE = "linux-image-amd64"
_MODULES = ("9p", "9pnet_virtio", "virtio_pci", "virtio_blk")
_EXIT = re.compile(r"^neaptide-vm-exit (\d+)\r?$", re.MULTILINE)


class Shape(NamedTuple):
    """What a machine has: CPUs = sockets * cores * threads, shared out among NUMA nodes in their order; memory and disks in MiB, `disk_speed` in MiB/s (0: as fast as it can)."""

    sockets: int = 1
    cores: int = 2
    threads: int = 1
    numa: int = 1
    memory: int = 768
    disks: tuple[int, ...] = ()
    disk_speed: int = 0

    @property
    def cpus(self) -> int:
        return self.sockets * self.cores * self.threads


class Outcome(NamedTuple):
    """How the command ended, and what it and the machine printed."""

    code: int
    output: str


def lacking(root: Path = Path("/")) -> list[str]:
    """What this machine lacks of what such a machine needs, as sentences."""
    if platform.machine() != "x86_64":
        return [f"machines are x86_64, this one is {platform.machine()}"]
    found = [
        f"{program} (Debian: {package})"
        for program, package in _PROGRAMS.items()
        if shutil.which(program, path=search_path()) is None
    ]
    return found if _kernel(root) else [*found, f"a kernel in /boot with its modules (Debian: {_KERNEL_PACKAGE})"]


def run(
    command: Sequence[str], directory: Path, *, shape: Shape, environment: Mapping[str, str], within: float
) -> Outcome:
    """Start a machine, run a command in it, and end it.

    Args:
        command: run as root in this process's directory, with the control groups of version 2 at /sys/fs/cgroup.
        directory: for the machine's files; it may be removed afterwards.
        shape: what the machine has; its disks are /dev/vda and on, empty.
        environment: all that the command finds in its, besides TMPDIR, the only place where it may write.
        within: seconds, after which it is a failure.

    Raises:
        TestbedError: something is lacking, it did not end in time, or ended without the command's exit code.
    """
    if missing := lacking():
        raise TestbedError(f"a virtual machine cannot run here, it lacks {'; '.join(missing)}")
    kernel = _kernel(Path("/"))
    if kernel is None:
        raise TestbedError("the kernel is gone from /boot")
    modules = module_files(Path("/lib/modules", kernel), _MODULES)
    image = initramfs(directory, modules, _Job(command, environment))
    machine = [*_qemu(shape, directory), "-kernel", f"/boot/{_KERNEL}{kernel}", "-initrd", str(image)]
    try:
        done = subprocess.run(machine, stdin=subprocess.DEVNULL, capture_output=True, timeout=within, check=False)
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        raise TestbedError(f"the virtual machine did not end within {within:g} s; it said:\n{said[-4000:]}") from error
    output = done.stdout.decode(errors="replace").replace("\r\n", "\n")
    ended = _EXIT.search(output)
    if ended is None:
        raise TestbedError(
            f"the virtual machine ended without a result:\n{output[-4000:]}{done.stderr.decode(errors='replace')[-2000:]}"
        )
    return Outcome(int(ended[1]), output[: ended.start()])


def _qemu(shape: Shape, directory: Path) -> list[str]:
    topology = f"{shape.cpus},sockets={shape.sockets},cores={shape.cores},threads={shape.threads}"
    flags = [
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "Nehalem",
        "-machine",
        "q35",
        "-m",
        f"{shape.memory}M",
        "-smp",
        topology,
    ]
    each = shape.cpus // shape.numa
    for node in range(shape.numa if shape.numa > 1 else 0):
        flags += ["-object", f"memory-backend-ram,id=m{node},size={shape.memory // shape.numa}M"]
        flags += ["-numa", f"node,nodeid={node},cpus={node * each}-{(node + 1) * each - 1},memdev=m{node}"]
    for number, size in enumerate(shape.disks):
        disk = directory / f"disk{number}"
        with disk.open("wb") as file:
            file.truncate(size << 20)
        speed = f",throttling.bps-total={shape.disk_speed << 20}" if shape.disk_speed else ""
        flags += ["-drive", f"file={disk},if=virtio,format=raw,cache=unsafe{speed}"]
    share = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
    line = "console=ttyS0 quiet psi=1 panic=-1 mitigations=off random.trust_cpu=on"
    return [
        _program("qemu-system-x86_64"), *flags, "-nic", "none", "-display", "none", "-monitor", "none",
        "-serial", "stdio", "-no-reboot", "-virtfs", share, "-append", line,
    ]  # fmt: skip


class _Job(NamedTuple):
    command: Sequence[str]
    environment: Mapping[str, str]


def _program(name: str) -> str:
    return shutil.which(name, path=search_path()) or name


def _kernel(root: Path) -> str | None:
    """The newest version in /boot that has its modules."""
    versions = [path.name.removeprefix(_KERNEL) for path in (root / "boot").glob(f"{_KERNEL}*")]
    there = [version for version in versions if (root / "lib/modules" / version / "modules.dep").exists()]
    return max(there, key=lambda version: [int(part) for part in re.findall(r"\d+", version)], default=None)
