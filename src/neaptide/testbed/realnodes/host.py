"""What this machine offers to real nodes, and what it lacks of what they need."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes.cgroups import NEEDED, Hierarchy, hierarchies

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PLUGIN_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_PLUGINS = ("bridge", "host-local", "loopback")
_PACKAGES = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "mount": "mount",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ldd": "libc-bin",
}
"""The Debian package of each program."""

_PLUGIN_PACKAGE = "containernetworking-plugins"
_CAP_SYS_ADMIN = 21
_CAP_SYS_RESOURCE = 24


class Host(Struct, frozen=True, kw_only=True):
    """What a machine offers.

    Attributes:
        programs: the path of each program by name; those that are missing are not in it.
        plugins: the folder with the CNI plugins; none where one of them is missing.
        capabilities: of this process, a bit for each.
        milli_cpu, memory: of the machine, in milli-CPU and bytes.
    """

    root: bool
    capabilities: int
    programs: Mapping[str, str]
    plugins: str | None
    hierarchies: tuple[Hierarchy, ...]
    overlay: bool
    systemd: bool
    milli_cpu: int
    memory: int

    @property
    def may_lower_oom_score(self) -> bool:
        """Whether a process may be made less likely to be killed when memory runs out."""
        return bool(self.capabilities >> _CAP_SYS_RESOURCE & 1)

    @property
    def unified(self) -> bool:
        """Whether control groups are those of version 2 alone."""
        return all(each.unified for each in self.hierarchies)

    def described(self) -> str:
        """In words for people: what differs from machine to machine."""
        return ", ".join(
            (
                "cgroup v2" if self.unified else "cgroup v1",
                "with systemd" if self.systemd else "without systemd",
                "overlayfs" if self.overlay else "no overlayfs (layers are copied)",
                *(() if self.may_lower_oom_score else ("no CAP_SYS_RESOURCE (no OOM scores below 0)",)),
            )
        )


def search_path() -> str:
    """PATH and the folders of the system's programs, which a user's PATH may lack."""
    return f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}"


def survey() -> Host:
    """Look at this machine."""
    found = {name: shutil.which(name, path=search_path()) for name in _PACKAGES}
    return Host(
        root=os.geteuid() == 0,
        capabilities=_capabilities(),
        programs={name: path for name, path in found.items() if path and (name != "busybox" or _is_static(path))},
        plugins=next((each for each in _PLUGIN_FOLDERS if all((Path(each) / one).exists() for one in _PLUGINS)), None),
        hierarchies=hierarchies(Path("/proc/mounts").read_text()),
        overlay="\toverlay\n" in Path("/proc/filesystems").read_text(),
        systemd=Path("/run/systemd/system").exists(),
        milli_cpu=1000 * (os.cpu_count() or 1),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def lacking(host: Host) -> list[str]:
    """A sentence for each thing that real nodes need and the machine lacks."""
    problems = []
    if not host.root:
        problems.append("they need root: run the command with sudo")
    elif not host.capabilities >> _CAP_SYS_ADMIN & 1:
        problems.append("they need the capability CAP_SYS_ADMIN, which this container's root lacks")
    missing = {name: package for name, package in _PACKAGES.items() if name not in host.programs}
    if host.plugins is None:
        missing[f"the CNI plugins {', '.join(_PLUGINS)}"] = _PLUGIN_PACKAGE
    if missing:
        what = ", ".join("busybox (a static one)" if name == "busybox" else name for name in missing)
        packages = " ".join(dict.fromkeys(missing.values()))
        problems.append(f"missing: {what}; as root: apt-get install {packages} (`make system-deps` does it)")
    controllers = frozenset[str]().union(*(each.controllers for each in host.hierarchies))
    if absent := sorted(NEEDED - controllers):
        problems.append(f"no cgroup hierarchy of this machine has the controllers {', '.join(absent)}")
    return problems


def require(host: Host) -> None:
    """See that real nodes can run here.

    Raises:
        TestbedError: they cannot; it names everything that is missing.
    """
    if problems := lacking(host):
        raise TestbedError("real nodes cannot run here: " + "; ".join(problems))


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def _is_static(path: str) -> bool:
    """Whether an ELF program asks for no loader, and so runs in an empty image."""
    return b"/ld-" not in Path(path).read_bytes()[:4096]
