"""The scene: one real node on a CPU of its own, a service, and the same two offline jobs three times over: uncontrolled, limited, best effort.

Generator and control plane are on CPU 0, the node with all its pods on CPU 1. Of the jobs those run that a set-up is about; the others are stopped
(SIGSTOP), use nothing, and need no time to start. The node's group has the largest weight there is among this machine's groups, so that
what else runs here disturbs all set-ups less, and alike.
"""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import yaml

from neaptide.noderules.weights import weight_of_shares
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.colocation import programs
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes import cgroups
from neaptide.testbed.realnodes.cluster import RealNodes, even_shapes
from neaptide.testbed.realnodes.pods import Pod, Pods

GENERATOR_CPU, NODE_CPU = 0, 1
NODE, NAMESPACE = "real-1", "default"
_WITHIN = 60.0
_MOST_SHARES = 262_144
AGENT_MILLI = 20
"""What the chart's DaemonSet requests."""
BE = {"koordinator.sh/qosClass": "BE"}
RULES = {
    "cpu_suppress": {"policy": "cfsQuota", "threshold_percent": 65},
    "disk": {"write_bps": 20 << 20},
    "group_priority": {},
}


class SetUp(StrEnum):
    """What runs beside the service."""

    ALONE = "alone"
    AGAIN = "alone again"
    UNCONTROLLED = "uncontrolled"
    LIMITED = "requests and limits"
    BEST_EFFORT = "best effort"
    AGENT = "agent"


_JOBS: Mapping[str, tuple[SetUp, str, Mapping[str, Mapping[str, str]], Mapping[str, str]]] = {
    "free-computes": (SetUp.UNCONTROLLED, "computes", {"requests": {"cpu": "200m"}}, {}),
    "free-writes": (SetUp.UNCONTROLLED, "writes", {"requests": {"cpu": "100m"}}, {}),
    "limited-computes": (SetUp.LIMITED, "computes", {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}, {}),
    "limited-writes": (SetUp.LIMITED, "writes", {"requests": {"cpu": "50m"}, "limits": {"cpu": "50m"}}, {}),
    "best-effort-computes": (SetUp.AGENT, "computes", {}, BE),
    "best-effort-writes": (SetUp.AGENT, "writes", {}, BE),
}


class Scene:
    """What runs, and what can be asked of it."""

    def __init__(self, nodes: RealNodes, directory: Path, work: int, rules: Mapping[str, Any]) -> None:
        self._nodes, self._directory, self._rules = nodes, directory, rules
        self._pods = Pods(nodes, NAMESPACE)
        (directory / "out").mkdir(parents=True)
        for name, text in programs.PROGRAMS.items():
            (directory / f"{name}.py").write_text(text)
        requests = {"requests": {"cpu": "400m"}}
        self.service = self._run("service", "service", requests, {}, str(work))
        self._jobs: dict[str, Pod] = {}
        for name, job in _JOBS.items():
            self._jobs[name] = self._run(name, job[1], *job[2:])
            self.stop_jobs()  # at once: they would leave the node's CPU to nobody that starts the next
        self._agent: subprocess.Popen[bytes] | None = None

    @contextmanager
    def of(self, set_up: SetUp) -> Iterator[None]:
        """Inside, what a set-up is about runs, and nothing else."""
        try:
            if set_up is SetUp.AGENT:
                self._agent = self._start_agent()
            for name in self.jobs_of(set_up):
                self._signal(self._jobs[name], signal.SIGCONT)
            yield
        finally:
            self.stop_jobs()
            self._end_agent()

    @staticmethod
    def jobs_of(set_up: SetUp) -> list[str]:
        """Best-effort jobs are the same with the agent and without."""
        whose = SetUp.AGENT if set_up is SetUp.BEST_EFFORT else set_up
        return [name for name, job in _JOBS.items() if job[0] is whose]

    def stop_jobs(self) -> None:
        for pod in self._jobs.values():
            self._signal(pod, signal.SIGSTOP)

    def load(self, rate: float, seconds: float) -> subprocess.Popen[bytes]:
        """Begin to ask the service, from a CPU of the generator's own; it prints latencies when it ends."""
        command = [
            sys.executable,
            "-m",
            "neaptide.testbed.colocation.load",
            self.service.address,
            str(rate),
            str(seconds),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def node_seconds(self) -> float:
        """For how long the node's CPU was busy so far."""
        for line in Path("/proc/stat").read_text().splitlines():
            name, *numbers = line.split()
            if name == f"cpu{NODE_CPU}":
                return sum(int(each) for index, each in enumerate(numbers[:8]) if index not in (3, 4)) / 100
        raise TestbedError(f"/proc/stat says nothing of CPU {NODE_CPU}")

    def service_seconds(self) -> float:
        return self._cpu_seconds(self.service)

    def job_seconds(self, set_up: SetUp) -> float:
        """CPU time of the jobs of a set-up so far."""
        return sum(self._cpu_seconds(self._jobs[name]) for name in self.jobs_of(set_up))

    def done(self, name: str) -> int:
        """Steps that a job has done so far."""
        content = (self._directory / "out" / name).read_bytes()
        return int(struct.unpack("<q", content)[0]) if len(content) == 8 else 0

    def said(self) -> str:
        """What the last agent printed."""
        return (self._directory / "agent.log").read_text()

    def _run(
        self,
        name: str,
        program: str,
        resources: Mapping[str, Mapping[str, str]],
        labels: Mapping[str, str],
        *words: str,
    ) -> Pod:
        place = str(self._directory)
        made = programs.pod(name, program, *words, directory=place, node=NODE, resources=resources, labels=labels)
        return self._pods.run(made)

    def _cpu_seconds(self, pod: Pod) -> float:
        group = self._pods.cgroup(pod, "cpu")
        with suppress(OSError):
            return int((self._pods.cgroup(pod, "cpuacct") / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def _signal(self, pod: Pod, number: signal.Signals) -> None:
        """All processes of a pod but those of its sandbox, which have no Python."""
        for file in self._pods.cgroup(pod, "cpu").glob("*/cgroup.procs"):
            for process in file.read_text().split():
                with suppress(OSError):
                    if b"/programs/" in Path(f"/proc/{process}/cmdline").read_bytes():
                        os.kill(int(process), number)

    def _start_agent(self) -> subprocess.Popen[bytes]:
        group = self._nodes.cgroup(NODE, "cpu")
        rules = self._directory / "rules.yaml"
        rules.write_bytes(yaml.encode(self._rules))
        # What mounts the groups is the folder above the controller's (version 1), or the tree itself.
        mount = group.parent if (group.parent / "cgroup.controllers").exists() else group.parents[1]
        own = [f"--cgroups={mount}", f"--cgroup-root=/{group.name}", f"--state={self._directory / 'state'}"]
        flags = [*own, f"--node={NODE}", f"--kubeconfig={self._nodes.testbed.kubeconfig}", f"--rules={rules}"]
        log = self._directory / "agent.log"
        with log.open("wb") as said:
            agent = subprocess.Popen([sys.executable, "-m", "neaptide", "agent", *flags], stderr=said)
        _to_node(agent.pid, group)
        _wait_for(str(log), "CPU quota", agent)
        return agent

    def _end_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.send_signal(signal.SIGTERM)
            try:
                agent.wait(_WITHIN)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
                raise


@contextmanager
def staged(directory: Path, *, work: int, rules: Mapping[str, Any] = RULES) -> Iterator[Scene]:
    """Build the scene, and give everything back at the end.

    Args:
        directory: for its files.
        work: bytes that the service hashes for a request.
        rules: the agent's.

    Raises:
        TestbedError: the machine lacks something, or has one CPU only.
    """
    there = os.sched_getaffinity(0)
    if not {GENERATOR_CPU, NODE_CPU} <= there:
        raise TestbedError(
            f"this machine has the CPUs {sorted(there)}; CPU {GENERATOR_CPU} and CPU {NODE_CPU} are needed"
        )
    testbed = Testbed(directory / "testbed", leash=os.getpid())
    nodes = RealNodes(testbed, leash=os.getpid())
    os.sched_setaffinity(0, {GENERATOR_CPU})
    try:
        testbed.up()
        nodes.up(even_shapes(1, [str(NODE_CPU)]))
        group = nodes.cgroup(NODE, "cpu")
        with suppress(OSError):  # version 2 has weights
            (group / "cpu.shares").write_text(str(_MOST_SHARES))
        yield Scene(nodes, directory / "scene", work, rules)
    finally:
        os.sched_setaffinity(0, there)
        nodes.down()
        testbed.down(purge=True)


def _to_node(pid: int, group: Path) -> None:
    """Have the agent, and what it starts, run on the node's CPU, with the weight of a pod of its DaemonSet's.

    Args:
        pid: the agent's.
        group: the node's, in the hierarchy of `cpu`.
    """
    os.sched_setaffinity(pid, {NODE_CPU})
    own = group / cgroups.PODS / "burstable" / "agent"
    own.mkdir(exist_ok=True)
    shares = AGENT_MILLI * 1024 // 1000
    if (own / "cpu.shares").exists():
        (own / "cpu.shares").write_text(str(shares))
    else:
        (own / "cpu.weight").write_text(str(weight_of_shares(shares)))
    (own / "cgroup.procs").write_text(str(pid))


def _wait_for(file: str, word: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _WITHIN
    while word not in _rest(file):
        if process.poll() is not None or time.monotonic() > end:
            raise TestbedError(f"the agent did not start:\n{_rest(file)[-2000:]}")
        time.sleep(0.05)


def _rest(file: str) -> str:
    return Path(file).read_text(errors="replace")
