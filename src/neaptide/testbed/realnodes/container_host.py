"""A host that is no node: a machine of its own with containerd and a network, for pods that a virtual node runs elsewhere.

As a real node's, its paths, processes and control groups are its own, and all of it goes at once. There is no kubelet and no control plane.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from neaptide.testbed import processes
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.processes import Process
from neaptide.testbed.realnodes import cgroups, images, network, settings
from neaptide.testbed.realnodes.host import require, survey
from neaptide.testbed.realnodes.images import BUSYBOX, PAUSE, Image
from neaptide.testbed.realnodes.machine import Machine, wait_until

_IMPORT_WITHIN = 120.0
_CONTAINERD = "containerd"


class ContainerHost:
    """One host, in a folder. Use it with `with`; should its user be killed, a process of its own takes it down.

    Raises:
        TestbedError: this machine lacks something that it needs.
    """

    def __init__(self, folder: Path) -> None:
        self._host = survey()
        require(self._host)
        label = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        self.folder = folder
        self.cgroup = f"neaptide-host-{label}"
        self._bridge = f"nth{label}"
        self._machine = Machine(folder / "machine", self.cgroup, self._host)
        self._keeper: Process | None = None
        self._containerd: Process | None = None
        self._before: dict[str, str] = {}

    @property
    def root(self) -> Path:
        """The file system as the host sees it."""
        if self._keeper is None:
            raise TestbedError("the host is not up")
        return Path(f"/proc/{self._keeper.pid}/root")

    @property
    def endpoint(self) -> str:
        """Where its CRI answers."""
        return f"unix://{self.root}{settings.CONTAINERD_SOCKET}"

    @property
    def cgroup_parent(self) -> str:
        """The group for containers: it goes with the host."""
        return f"/{self.cgroup}/pods"

    def up(self, more: Sequence[Image] = ()) -> Self:
        """Begin with an empty disk, with busybox, the sandbox's image and more."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._before = cgroups.delegated(self._host.hierarchies)
        with network.choosing():
            subnet = network.free_subnet()
            network.create(self._bridge, subnet)
        self._leash()
        self._keeper = self._machine.begin(self.folder, "")
        inside = self._machine.inside
        inside("/run/containerd.toml").write_text(settings.containerd(self._host))
        inside("/run/cni/testbed.conflist").write_text(settings.pod_network(self._bridge, subnet))
        self.start_containerd()
        for image in (PAUSE, BUSYBOX, *more):
            self.load(image)
        return self

    def start_containerd(self) -> None:
        """Start containerd, as after it died, and wait until it answers."""
        if self._keeper is None:
            raise TestbedError("the host is not up")
        command = [self._host.programs[_CONTAINERD], "--config", "/run/containerd.toml"]
        self._containerd = self._machine.start(self._keeper, _CONTAINERD, command)
        wait_until(
            lambda: self._ctr("version").returncode == 0, self._containerd, self._machine.log(_CONTAINERD), _CONTAINERD
        )

    def kill_containerd(self) -> None:
        """End containerd at once; its containers go on."""
        if self._containerd is not None:
            for pid in cgroups.own_processes(self._host.hierarchies, self.cgroup):
                if cgroups.program_of(pid) == _CONTAINERD:
                    cgroups.kill(pid)

    def load(self, image: Image) -> None:
        """Make an image and give it to containerd."""
        archive = images.write(image, self.folder / "image.tar")
        found = self._ctr("images", "import", "--snapshotter", settings.snapshotter(self._host), str(archive))
        archive.unlink()
        if found.returncode:
            raise TestbedError(f"containerd does not take {image.name}: {found.stderr.strip()}")

    def mirror(self, registry: str, url: str) -> None:
        """Have containerd ask another server in the place of a registry, as `docker.io`."""
        folder = self._machine.inside(f"{settings.REGISTRIES}/{registry}")
        folder.mkdir(parents=True, exist_ok=True)
        told = f'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
        (folder / "hosts.toml").write_text(told)

    def down(self) -> None:
        """Take all of it away."""
        self._machine.end()
        network.destroy(self._bridge)
        cgroups.take_back(self._before)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._keeper = None

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _leash(self) -> None:
        command = [
            sys.executable,
            "-m",
            "neaptide.testbed.realnodes.leash",
            "--host",
            str(self.folder),
            str(os.getpid()),
        ]
        processes.start(command, log=self.folder / "leash.log", environment=os.environ)

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        address = str(self.root) + settings.CONTAINERD_SOCKET
        command = [self._host.programs["ctr"], "--address", address, "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_IMPORT_WITHIN)
