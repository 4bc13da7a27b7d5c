"""A control plane in a directory: brought up, asked, broken on demand, and taken down so that no process stays."""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from neaptide.testbed import ports, processes
from neaptide.testbed.build import ensure_built
from neaptide.testbed.components import COMPONENTS, PEER, START_ORDER, Component, Site, command_line, component_named
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.files import ADMIN, prepare, write_private
from neaptide.testbed.processes import Process
from neaptide.testbed.server import Server

_STATE = "state.json"
_READY_WITHIN = 120.0  # seconds; four where nothing else runs
_GRACE = 5.0
_PAUSE = 0.05
_TAIL = 15  # lines of the log of a component that did not start
_NO_KEY = "AA=="  # one byte of zero, as JSON has bytes
_FIRST_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def directory_of(name: str) -> Path:
    """Where the cluster of a name is kept unless told otherwise.

    Raises:
        TestbedError: it is no name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise TestbedError(f"--name: {name!r} is not accepted; accepted: lower case letters, digits and hyphens")
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "neaptide" / "testbed" / name


class State(Struct, frozen=True):
    """What is remembered of a control plane between two commands."""

    programs: str
    ports: dict[str, int]
    processes: dict[str, Process]


class ComponentStatus(Struct, frozen=True):
    """How a component is now; `memory_mib` is what it holds of the machine's memory."""

    component: str
    state: processes.State
    pid: int | None
    port: int
    memory_mib: int


class Testbed:
    """The control plane of a directory. Every method may be called from any process; those that change something wait for one another.

    Args:
        leash: the number of a process; what this object starts is killed when that process ends, however it ends.
    """

    def __init__(self, directory: Path, *, leash: int | None = None) -> None:
        self.directory = directory.absolute()
        self._leash = leash

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / f"{ADMIN}.kubeconfig"

    @property
    def site(self) -> Site:
        """Where its programs, keys and ports are.

        Raises:
            TestbedError: it was never brought up.
        """
        return _site(self.directory, self._state())

    def up(self, report: Callable[[float], None] = lambda _: None) -> None:
        """Start what is not running, thaw what is frozen, and return when all of it is ready and pods can be created.

        Args:
            report: is told the part that is done, 0 to 1; of the build too, where the programs must be built first.

        Raises:
            TestbedError: a component ended, or was not ready in time; those that run stay, for a look at their logs.
        """
        programs = ensure_built(report)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            state = self._begin(programs)
            site = _site(self.directory, state)
            prepare(site)
            for done, group in enumerate(START_ORDER):
                report(done / len(START_ORDER))
                for component in group:
                    state = self._ensure_running(component, site, state)
                for component in group:
                    _await(component.ready, component, site, state.processes[component.name])
            _await(_FIRST_ACCOUNT, component_named("kube-apiserver"), site, state.processes["kube-controller-manager"])

    def down(self, *, purge: bool = False) -> None:
        """End every process, the API server before etcd; with `purge`, the directory goes too.

        Raises:
            TestbedError: it was never brought up.
        """
        with self._locked():
            state = self._state()
            for group in reversed(START_ORDER):
                known = (state.processes.get(each.name) for each in group)
                processes.stop([process for process in known if process], grace=_GRACE)
            self._remember(msgspec.structs.replace(state, processes={}))
            if purge:
                shutil.rmtree(self.directory)

    def status(self) -> list[ComponentStatus]:
        """How each component is.

        Raises:
            TestbedError: it was never brought up.
        """
        state = self._state()
        return [_status(each.name, state) for each in COMPONENTS]

    def kill(self, component: str) -> None:
        """End a component at once, as a crash would."""
        processes.kill(self._process(component))

    def freeze(self, component: str) -> None:
        """Stop a component in its tracks: its connections stay open and nothing is answered."""
        processes.freeze(self._process(component))

    def thaw(self, component: str) -> None:
        """Let a frozen component go on."""
        processes.thaw(self._process(component))

    def restart(self, component: str) -> None:
        """End a component if it runs, start it again with its data, and return when it is ready."""
        found = component_named(component)
        with self._locked():
            state = self._state()
            if component in state.processes:
                processes.stop([state.processes[component]], grace=_GRACE)
            site = _site(self.directory, state)
            state = self._ensure_running(found, site, state)
            _await(found.ready, found, site, state.processes[component])

    def compact(self) -> int:
        """Make every version up to the present too old: lists, pages and watches from one answer 410. The last one's number.

        etcd forgets the versions, and the API server is started anew, because it answers from a memory of its own while it runs.
        """
        with Server(component_named("etcd"), self.site) as server:
            answer = server.call("POST", "/v3/kv/range", {"key": _NO_KEY})
            revision = int(msgspec.json.decode(answer)["header"]["revision"])
            server.call("POST", "/v3/kv/compaction", {"revision": str(revision), "physical": True})
        self.restart("kube-apiserver")
        return revision

    def kubectl(
        self, arguments: Sequence[str], *, content: str | None = None, timeout: float = 240.0
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator; `content` is its standard input. Its exit code is for the caller to look at."""
        program, environment = self.kubectl_command()
        return subprocess.run(
            [program, *arguments],
            env=environment,
            input=content,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )

    def kubectl_command(self) -> tuple[str, dict[str, str]]:
        """The kubectl program and the environment in which it means this cluster."""
        own = {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.directory / "kubectl")}
        return str(self.site.programs / "kubectl"), {**os.environ, **own}

    def log(self, component: str) -> Path:
        """The file with what a component printed; `audit` names the API server's audit log."""
        if component != "audit":
            component_named(component)
        return self.directory / "logs" / f"{component}.log"

    def _begin(self, programs: Path) -> State:
        """The state with which `up` goes on: as it was where something still runs, else with ports that are free now."""
        previous = self._state() if (self.directory / _STATE).exists() else None
        if previous and any(processes.state(each) != "ended" for each in previous.processes.values()):
            return msgspec.structs.replace(previous, programs=str(programs))
        names = (PEER, *(component.name for component in COMPONENTS))
        state = State(str(programs), ports.assign(names, previous.ports if previous else {}), {})
        self._remember(state)
        return state

    def _ensure_running(self, component: Component, site: Site, state: State) -> State:
        process = state.processes.get(component.name)
        if process and processes.state(process) != "ended":
            processes.thaw(process)
            return state
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory)}
        if self._leash is not None:
            environment["TESTBED_LEASH"] = str(self._leash)
        process = processes.start(command_line(component, site), log=self.log(component.name), environment=environment)
        state = msgspec.structs.replace(state, processes={**state.processes, component.name: process})
        self._remember(state)
        return state

    def _process(self, component: str) -> Process:
        component_named(component)
        process = self._state().processes.get(component)
        if process is None:
            raise TestbedError(f"{component} was not started in {self.directory}")
        return process

    def _state(self) -> State:
        try:
            return msgspec.json.decode((self.directory / _STATE).read_bytes(), type=State)
        except FileNotFoundError as error:
            raise _nothing_in(self.directory) from error
        except msgspec.DecodeError as error:
            raise TestbedError(f"{self.directory / _STATE} cannot be read: {error}") from error

    def _remember(self, state: State) -> None:
        write_private(self.directory / _STATE, msgspec.json.format(msgspec.json.encode(state)).decode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = (self.directory / "lock").open("w")
        except FileNotFoundError as error:
            raise _nothing_in(self.directory) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _nothing_in(directory: Path) -> TestbedError:
    return TestbedError(f"there is no testbed in {directory}; `neaptide testbed up` makes one")


def _site(directory: Path, state: State) -> Site:
    if not Path(state.programs).exists():
        raise TestbedError(f"{state.programs}: the programs are gone; `neaptide testbed up` builds them again")
    return Site(directory, Path(state.programs), state.ports)


def _status(name: str, state: State) -> ComponentStatus:
    process = state.processes.get(name)
    if process is None or (now := processes.state(process)) == "ended":
        return ComponentStatus(name, "ended", None, state.ports[name], 0)
    return ComponentStatus(name, now, process.pid, state.ports[name], processes.resident_bytes(process) // 2**20)


def _await(path: str, component: Component, site: Site, process: Process) -> None:
    """Wait until a component's server answers a path with success, as long as the process that is to bring this about lives."""
    due = time.monotonic() + _READY_WITHIN
    with Server(component, site, timeout=5.0) as server:
        while not server.is_ready(path):
            ended = processes.state(process) == "ended"
            if ended or time.monotonic() > due:
                problem = "ended" if ended else f"was not ready after {_READY_WITHIN:.0f} seconds"
                log = site.directory / "logs" / f"{component.name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
                raise TestbedError(f"{component.name} {problem}; the end of {log}:\n{tail}")
            time.sleep(_PAUSE)
