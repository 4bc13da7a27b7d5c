"""What a machine lacks is said with the package that has it, the command that installs it, and before anything is started."""

from pathlib import Path

import msgspec
import pytest

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes.cgroups import NEEDED, Hierarchy
from neaptide.testbed.realnodes.cluster import even_shapes
from neaptide.testbed.realnodes.host import Host, lacking, require

PROGRAMS = (
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "busybox",
    "ip",
    "mount",
    "unshare",
    "nsenter",
    "ldd",
)
V2 = Hierarchy(Path("/sys/fs/cgroup"), NEEDED, unified=True)
WELL = Host(
    root=True,
    capabilities=(1 << 41) - 1,
    programs={name: f"/usr/bin/{name}" for name in PROGRAMS},
    plugins="/usr/lib/cni",
    hierarchies=(V2,),
    overlay=True,
    systemd=True,
    milli_cpu=2000,
    memory=2**34,
)

LACKING: dict[str, tuple[Host, str]] = {
    "not root": (msgspec.structs.replace(WELL, root=False), "they need root: run the command with sudo"),
    "a weak root": (msgspec.structs.replace(WELL, capabilities=0), "they need the capability CAP_SYS_ADMIN"),
    "no containerd": (
        msgspec.structs.replace(WELL, programs={"runc": "/r"} | {name: name for name in PROGRAMS[3:]}),
        "missing: containerd, containerd-shim-runc-v2, ctr; as root: apt-get install containerd (`make system-deps` does it)",
    ),
    "a busybox that wants libraries, and no plugins": (
        msgspec.structs.replace(WELL, plugins=None, programs={name: name for name in PROGRAMS if name != "busybox"}),
        "the CNI plugins bridge, host-local, loopback; as root: apt-get install busybox-static containernetworking-plugins",
    ),
    "no control groups": (msgspec.structs.replace(WELL, hierarchies=()), "the controllers cpu, cpuset, memory, pids"),
}


@pytest.mark.parametrize(("host", "sentence"), LACKING.values(), ids=LACKING)
def test_what_is_missing_is_named_with_what_brings_it(host: Host, sentence: str) -> None:
    assert sentence in "; ".join(lacking(host))
    with pytest.raises(TestbedError, match="real nodes cannot run here: "):
        require(host)


def test_a_machine_with_all_of_it_lacks_nothing() -> None:
    assert lacking(WELL) == []
    assert WELL.described() == "cgroup v2, with systemd, overlayfs"


WRONG = {
    "too few": ((2, ["0"]), r"--node-cpus: 1 for 2 nodes is not accepted"),
    "no list": ((1, ["first"]), r"--node-cpus: 'first' is not accepted; accepted: CPUs as in 0-1,3"),
    "not there": ((1, ["9999"]), r"--node-cpus: '9999' is not accepted; this machine has the CPUs 0-"),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG)
def test_cpus_that_do_not_fit_are_refused(arguments: tuple[int, list[str]], sentence: str) -> None:
    with pytest.raises(TestbedError, match=sentence):
        even_shapes(*arguments)
