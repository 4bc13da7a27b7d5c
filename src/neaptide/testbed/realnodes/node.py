"""One real node: its machine, its bridge, its containerd and its kubelet, each step of which can be taken again."""

import http.client
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from neaptide.testbed import processes
from neaptide.testbed.components import Site
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.files import kubeconfig, write_private
from neaptide.testbed.realnodes import cgroups, network, settings
from neaptide.testbed.realnodes.host import Host
from neaptide.testbed.realnodes.machine import STARTERS, Machine, wait_until
from neaptide.testbed.realnodes.memory import Memory, NodeState
from neaptide.testbed.realnodes.network import Subnet
from neaptide.testbed.realnodes.settings import NodeShape

KEEPER, CONTAINERD, KUBELET = "machine", "containerd", "kubelet"
_PROGRAMS = "/run/programs"
_IMPORT_WITHIN = 120.0


class Node:
    """A node of that name in a testbed. `label` is short and no other testbed's: by it the machine is asked what is the node's."""

    def __init__(self, name: str, label: str, memory: Memory, host: Host) -> None:
        self.name = name
        self.cgroup = f"neaptide-{label}-{name}"
        self.bridge = f"nt{label}-{name.rpartition('-')[2]}"
        self._memory = memory
        self._host = host
        self._machine = Machine(memory.folder / name, self.cgroup, host)

    @property
    def state(self) -> NodeState:
        return self._memory.node(self.name)

    @property
    def address(self) -> str:
        return network.address(Subnet(self.state.subnet))

    @property
    def root(self) -> Path:
        """The file system as the node sees it, with all of its mounts; short enough a path for sockets."""
        return Path(f"/proc/{self._memory.process(self.name, KEEPER).pid}/root")

    @property
    def containerd_socket(self) -> Path:
        return self.root / settings.CONTAINERD_SOCKET.lstrip("/")

    def log(self, program: str) -> Path:
        return self._machine.log(program)

    def is_on(self) -> bool:
        """Whether its machine is there, whatever runs in it."""
        keeper = self._memory.state().nodes.get(self.name)
        return bool(keeper and KEEPER in keeper.processes and processes.state(keeper.processes[KEEPER]) != "ended")

    def begin(self, shape: NodeShape, site: Site) -> None:
        """Make its machine and its network, with an empty disk; what was left of it goes first."""
        self.remove()
        with network.choosing():
            subnet = network.free_subnet()
            self._memory.add(self.name, NodeState(shape, str(subnet)), cgroups.delegated(self._host.hierarchies))
            network.create(self.bridge, subnet)
        keeper = self._machine.begin(site.programs, shape.cpus)
        self._memory.add_process(self.name, KEEPER, keeper)
        inside = self._machine.inside
        inside("/run/containerd.toml").write_text(settings.containerd(self._host))
        inside("/run/cni/testbed.conflist").write_text(settings.pod_network(self.bridge, subnet))
        told = settings.kubelet(self._host, shape, cgroup=self.cgroup, node_ip=self.address)
        inside("/var/lib/kubelet/config.json").write_text(told)
        self._make_keys(site)

    def start_containerd(self) -> None:
        """Start it where it does not run."""
        self._ensure(CONTAINERD, [self._host.programs[CONTAINERD], "--config", "/run/containerd.toml"])

    def await_containerd(self) -> None:
        """Wait until it answers."""
        self._await(CONTAINERD, lambda: self._ctr("version").returncode == 0)

    def load(self, archive: Path) -> None:
        """Give an image to containerd."""
        found = self._ctr("images", "import", "--snapshotter", settings.snapshotter(self._host), str(archive))
        if found.returncode:
            raise TestbedError(f"{self.name} does not take {archive.name}: {found.stderr.strip()}")

    def start_kubelet(self, site: Site) -> None:
        """Start it where it does not run; the API server may have moved to another port."""
        user = f"node-{self.name}"
        write_private(self._machine.inside("/var/lib/kubelet/kubeconfig"), kubeconfig(site, user))
        labels = {settings.LABEL: "true", **self.state.shape.labels}
        flags = {
            "config": "/var/lib/kubelet/config.json",
            "kubeconfig": "/var/lib/kubelet/kubeconfig",
            "cert-dir": "/var/lib/kubelet/pki",
            "hostname-override": self.name,
            "node-ip": self.address,
            "node-labels": ",".join(f"{key}={value}" for key, value in labels.items()),
            "v": "2",
        }
        self._ensure(KUBELET, [f"{_PROGRAMS}/kubelet", *(f"--{name}={value}" for name, value in flags.items())])

    def await_kubelet(self) -> None:
        """Wait until it says that it is well, and keep its pods to the node's CPUs."""
        trees = self._host.hierarchies
        address = self.address
        self._await(KUBELET, lambda: _is_well(address) and cgroups.pods_are_set_up(trees, self.cgroup))
        cgroups.pin_pods(trees, self.cgroup, self.state.shape.cpus)

    def remove(self) -> None:
        """End all that runs in it and take its groups, network and disk away; nothing happens where there is nothing."""
        self._machine.end()
        network.destroy(self.bridge)
        if self._machine.folder.exists():
            shutil.rmtree(self._machine.folder)
        self._memory.forget(self.name)

    def _make_keys(self, site: Site) -> None:
        """One certificate, signed for the address of today, with which the kubelet both serves and calls."""
        pki = Path(site.pki(""))
        for old in pki.glob(f"node-{self.name}.*"):
            old.unlink()
        command = [str(site.programs / "testbed-pki"), str(pki), f"{self.name}:{self.address}"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise TestbedError(made.stderr.strip())
        target = self._machine.inside("/var/lib/kubelet/pki")
        for file, source in {
            "ca.crt": "ca.crt",
            "node.crt": f"node-{self.name}.crt",
            "node.key": f"node-{self.name}.key",
        }.items():
            shutil.copy(pki / source, target / file)

    def _ensure(self, program: str, command: list[str]) -> None:
        known = self.state.processes
        if program in known and processes.state(known[program]) != "ended":
            processes.thaw(known[program])
            return
        self._end_strays(program)
        self._memory.add_process(self.name, program, self._machine.start(known[KEEPER], program, command))

    def _end_strays(self, program: str) -> None:
        """End what a command started that was killed before it could remember it."""
        known = {process.pid for process in self.state.processes.values()}
        for pid in cgroups.own_processes(self._host.hierarchies, self.cgroup) - known:
            if cgroups.program_of(pid) in (program, *STARTERS):
                cgroups.kill(pid)

    def _await(self, program: str, met: Callable[[], bool]) -> None:
        process = self._memory.process(self.name, program)
        wait_until(met, process, self._machine.log(program), f"{program} of {self.name}")

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            self._host.programs["ctr"],
            "--address",
            str(self.containerd_socket),
            "--namespace",
            "k8s.io",
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_IMPORT_WITHIN)


def _is_well(address: str) -> bool:
    """Whether the kubelet at an address answers its health check."""
    connection = http.client.HTTPConnection(address, settings.KUBELET_HEALTH_PORT, timeout=2.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
