"""The real nodes of a testbed: brought up, asked, broken on demand, and taken down so that the machine is as it was."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from neaptide.model.cpusets import parse_cpus
from neaptide.testbed import cluster, processes
from neaptide.testbed.cluster import ComponentStatus
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.load import await_ready
from neaptide.testbed.realnodes import cgroups, images, leash, network, settings
from neaptide.testbed.realnodes.host import require, survey
from neaptide.testbed.realnodes.images import Image
from neaptide.testbed.realnodes.memory import Memory
from neaptide.testbed.realnodes.node import CONTAINERD, KUBELET, Node
from neaptide.testbed.realnodes.settings import NodeShape

_GRACE = 5.0


def even_shapes(count: int, cpus: Sequence[str] = ()) -> list[NodeShape]:
    """So many nodes that together promise no more than this machine has; `cpus` is each one's, or nobody's in particular.

    Raises:
        TestbedError: `cpus` is neither empty nor one for each, or names CPUs that are not there.
    """
    if cpus and len(cpus) != count:
        raise TestbedError(
            f"--node-cpus: {len(cpus)} for {count} nodes is not accepted; accepted: one for each, as in 0 1 or 0-1 2-3"
        )
    host = survey()
    there = range(host.milli_cpu // 1000)
    made = []
    for own in cpus or [""] * count:
        try:
            wanted = parse_cpus(own)
        except ValueError as error:
            raise TestbedError(f"--node-cpus: {own!r} is not accepted; accepted: CPUs as in 0-1,3") from error
        if not wanted <= set(there):
            raise TestbedError(f"--node-cpus: {own!r} is not accepted; this machine has the CPUs 0-{there[-1]}")
        milli_cpu = 1000 * len(wanted) or host.milli_cpu // count
        reserved = {"cpu": f"{host.milli_cpu - milli_cpu}m", "memory": str(host.memory - host.memory // count)}
        made.append(NodeShape(cpus=own, reserved=reserved))
    return made


class RealNodes:
    """The real nodes of a testbed, `real-1` and on. Only root may change them; those that change something wait for one another.

    Args:
        leash: the number of a process; the nodes are taken down when that process ends, however it ends.
    """

    def __init__(self, testbed: cluster.Testbed, *, leash: int | None = None) -> None:
        self.testbed = testbed
        self._leash = leash
        self._memory = Memory(testbed.directory / "nodes")
        self._label = hashlib.sha256(str(testbed.directory).encode()).hexdigest()[:6]
        self._host = survey()

    @property
    def names(self) -> list[str]:
        """Those that were brought up."""
        return list(self._memory.state().nodes)

    def __getitem__(self, name: str) -> Node:
        """The node of that name.

        Raises:
            TestbedError: it was not brought up.
        """
        self._memory.node(name)
        return self._node(name)

    def up(self, shapes: Sequence[NodeShape], report: Callable[[float], None] = lambda _: None) -> int:
        """See that the control plane, which runs, has a node of each shape; how many of them had to be begun.

        A node that is on stays as it is, but for a program of it that has ended, which is started again. Another begins with an
        empty disk, after what was left of it is removed.

        Raises:
            TestbedError: the machine lacks something, which it names before anything is started; or a node does not get ready.
        """
        require(self._host)
        site = self.testbed.site
        nodes = [self._node(f"real-{number}") for number in range(1, len(shapes) + 1)]
        with self._memory.locked():
            if self._leash and not self._memory.state().leash:
                self._memory.add_leash(leash.start(self.testbed.directory, self._leash))
            begun = [(node, shape) for node, shape in zip(nodes, shapes, strict=True) if not node.is_on()]
            for node, shape in begun:
                node.begin(shape, site)
            for node in nodes:
                node.start_containerd()
            archives = [self._write(image) for image in (images.PAUSE, images.BUSYBOX)] if begun else []
            for node in nodes:
                node.await_containerd()
            for node, _ in begun:
                for archive in archives:
                    node.load(archive)
            for node in nodes:
                node.start_kubelet(site)
            for node in nodes:
                node.await_kubelet()
        await_ready(site, {node.name for node in nodes}, report, log="real-1/kubelet")
        return len(begun)

    def down(self) -> None:
        """End all nodes of this testbed as when the power goes, and give back what they took of the machine. Again does no harm.

        Nodes are found by what they left on the machine too, not by memory alone. The API keeps them as objects.
        """
        trees = self._host.hierarchies
        if not self._memory.folder.exists() and not self._left():
            return
        with self._memory.locked():
            state = self._memory.state()
            for name in sorted({*self.names, *self._left()}):
                self._node(name).remove()
            if not cgroups.names(trees, "neaptide-"):
                cgroups.take_back(state.delegated)
            if state.leash and state.leash.pid != os.getpid():
                processes.kill(state.leash)
            self._memory.forget_all()

    def status(self) -> list[ComponentStatus]:
        """How the programs of each node are."""
        found = []
        for name, node in self._memory.state().nodes.items():
            for program, port in ((CONTAINERD, 0), (KUBELET, settings.KUBELET_PORT)):
                process = node.processes.get(program)
                now = processes.state(process) if process else "ended"
                lives = process is not None and now != "ended"
                memory = processes.resident_bytes(process) // 2**20 if process and lives else 0
                found.append(
                    ComponentStatus(f"{name}/{program}", now, process.pid if process and lives else None, port, memory)
                )
        return found

    def log(self, component: str) -> Path:
        """The file with what a node's program printed, as in `real-1/kubelet`."""
        name, _, program = component.partition("/")
        self._memory.process(name, program)
        return self[name].log(program)

    def cgroup(self, name: str, controller: str) -> Path:
        """The node's group; `system` and `kubepods` are below it.

        Args:
            name: the node's.
            controller: on version 1, each has a tree of its own; on version 2 it is all one. `unified` is version 2's on both.
        """
        return cgroups.of_controller(self._host.hierarchies, controller).path / self[name].cgroup

    def kill(self, name: str, program: str = KUBELET) -> None:
        """End a node's kubelet or containerd as a crash would; its pods go on."""
        processes.kill(self._memory.process(name, program))

    def freeze(self, name: str, program: str = KUBELET) -> None:
        """Stop a node's kubelet or containerd in its tracks."""
        processes.freeze(self._memory.process(name, program))

    def thaw(self, name: str, program: str = KUBELET) -> None:
        """Let it go on."""
        processes.thaw(self._memory.process(name, program))

    def restart(self, name: str, program: str = KUBELET) -> None:
        """End a node's kubelet or containerd if it runs and start it again; returns when both answer."""
        node = self[name]
        with self._memory.locked():
            processes.stop([self._memory.process(name, program)], grace=_GRACE)
            node.start_containerd()
            node.await_containerd()
            node.start_kubelet(self.testbed.site)
            node.await_kubelet()

    def load(self, image: Image) -> None:
        """Make an image and give it to all nodes."""
        with self._memory.locked():
            archive = self._write(image)
            for name in self.names:
                self[name].load(archive)

    def _node(self, name: str) -> Node:
        return Node(name, self._label, self._memory, self._host)

    def _left(self) -> set[str]:
        """The nodes of this testbed of which the machine has something, remembered or not."""
        group, bridge = f"neaptide-{self._label}-", f"nt{self._label}-"
        found = {name.removeprefix(group) for name in cgroups.names(self._host.hierarchies, group)}
        if "ip" in self._host.programs:
            found |= {f"real-{name.removeprefix(bridge)}" for name in network.names(bridge)}
        return found

    def _write(self, image: Image) -> Path:
        folder = self._memory.folder / "images"
        folder.mkdir(exist_ok=True)
        return images.write(image, folder / f"{image.name.replace('/', '_')}.tar")
