"""The first file system of a small virtual machine: busybox, the modules that it needs, and a script that runs one command on this machine's files."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes.host import search_path

_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /host
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host
/bin/busybox mount -t proc proc /host/proc
/bin/busybox mount -t sysfs sys /host/sys
/bin/busybox mount -t cgroup2 cgroup /host/sys/fs/cgroup
/bin/busybox mount -t devtmpfs dev /host/dev
/bin/busybox mount -t tmpfs tmpfs /host/run
/bin/busybox mkdir -p /host{scratch}
/bin/busybox ifconfig lo 127.0.0.1
/bin/busybox chroot /host /bin/sh -c {script}
echo "neaptide-vm-exit $?"
/bin/busybox poweroff -f
"""
SCRATCH = "/run/neaptide"
"""Where the command may write, in the machine's memory."""


class Job(Protocol):
    """What is run."""

    @property
    def command(self) -> Sequence[str]: ...

    @property
    def environment(self) -> Mapping[str, str]: ...


def module_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files of kernel modules and of all that they need, in the order in which they are to be loaded.

    Args:
        folder: of the kernel's modules, with `modules.dep`.
        names: of modules; one that is built in has no file.
    """
    needs: dict[str, list[str]] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[file] = rest.split()
    by_name = {Path(file).name.partition(".")[0]: file for file in needs}
    found: list[str] = []
    for name in names:
        if name in by_name:
            found += [*reversed(needs[by_name[name]]), by_name[name]]
    return [folder / file for file in dict.fromkeys(found)]


def initramfs(directory: Path, modules: Sequence[Path], job: Job) -> Path:
    """Make it; its path. Raises TestbedError: a program failed."""
    root = directory / "initramfs"
    shutil.rmtree(root, ignore_errors=True)
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    busybox = shutil.which("busybox", path=search_path())
    if busybox is None:
        raise TestbedError("busybox is gone (Debian: busybox-static)")
    shutil.copy(busybox, root / "bin/busybox")
    for module in modules:
        shutil.copy(module, root / "modules" / module.name)
    assignments = [f"{name}={value}" for name, value in ({"TMPDIR": SCRATCH} | dict(job.environment)).items()]
    command = shlex.join(["env", "-i", *assignments, *job.command])
    script = f"cd {shlex.quote(os.getcwd())} && exec {command}"  # noqa: PTH109 - a word of the script
    init = root / "init"
    init.write_text(
        _INIT.format(modules=" ".join(module.name for module in modules), script=shlex.quote(script), scratch=SCRATCH)
    )
    init.chmod(0o755)
    image = directory / "initramfs.gz"
    packing = f"cd {shlex.quote(str(root))} && find . | cpio --quiet -o -H newc | gzip -1 > {shlex.quote(str(image))}"
    packed = subprocess.run(["/bin/sh", "-c", packing], capture_output=True, text=True, check=False)
    if packed.returncode:
        raise TestbedError(f"the first file system could not be packed: {packed.stderr.strip()}")
    return image
