"""What is remembered of a testbed's real nodes between two commands: written before anything is done to the machine."""

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.files import write_private
from neaptide.testbed.processes import Process
from neaptide.testbed.realnodes.settings import NodeShape


class NodeState(Struct, frozen=True):
    """What is remembered of a node; its processes by program."""

    shape: NodeShape
    subnet: str
    processes: dict[str, Process] = {}


class State(Struct, frozen=True):
    """What is remembered of all.

    Attributes:
        delegated: what cgroup roots gave their groups before there were nodes (version 2).
        leash: the process that takes the nodes down when another ends.
    """

    nodes: dict[str, NodeState] = {}
    delegated: dict[str, str] = {}
    leash: Process | None = None


class Memory:
    """The state file in a folder, and the lock with which those that change something wait for one another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def state(self) -> State:
        """Nothing where there is no file: then there are no nodes, or nobody knows of them."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except msgspec.DecodeError as error:
            raise TestbedError(
                f"{self._file} cannot be read: {error}; remove it and run `neaptide testbed down`"
            ) from error

    def node(self, name: str) -> NodeState:
        """One node's.

        Raises:
            TestbedError: there is none of that name.
        """
        nodes = self.state().nodes
        if name not in nodes:
            raise TestbedError(
                f"node: {name!r} is not accepted; accepted: {', '.join(nodes) or 'none, as no real node is up'}"
            )
        return nodes[name]

    def process(self, name: str, program: str) -> Process:
        """One of a node's processes.

        Raises:
            TestbedError: it has no such program.
        """
        known = self.node(name).processes
        if program not in known:
            raise TestbedError(f"program: {program!r} is not accepted; accepted for {name}: {', '.join(known)}")
        return known[program]

    def add(self, name: str, node: NodeState, delegated: Mapping[str, str]) -> None:
        """A node, and what was true of the machine before the first."""
        state = self.state()
        nodes = {**state.nodes, name: node}
        self._write(replace(state, nodes=nodes, delegated=state.delegated or dict(delegated)))

    def add_process(self, name: str, program: str, process: Process) -> None:
        state, node = self.state(), self.node(name)
        node = replace(node, processes={**node.processes, program: process})
        self._write(replace(state, nodes={**state.nodes, name: node}))

    def add_leash(self, leash: Process) -> None:
        self._write(replace(self.state(), leash=leash))

    def forget(self, name: str) -> None:
        state = self.state()
        self._write(replace(state, nodes={other: node for other, node in state.nodes.items() if other != name}))

    def forget_all(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, state: State) -> None:
        write_private(self._file, msgspec.json.format(msgspec.json.encode(state)).decode())
