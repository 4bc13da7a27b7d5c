"""What an agent costs its node: CPU and memory of the agent and its watchdog at a loop of one second, all rules on, half of the pods best effort.

The tree of control groups is one of plain files as version 2 shows them; the pods come from the recorded server. A real kernel's files cost
more to read: it writes their text anew each time.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figure import Figure
from benchmarks.podlist import pod
from benchmarks.recorded_server import recorded

_WORKLOADS, _NODES = 400, 1000
"""Of the recorded server's pods."""
_WARM, _SECONDS = 4.0, 20.0
_FILES = {
    "cpu.max": "max 100000\n",
    "cpu.max.burst": "0\n",
    "cpu.weight": "1\n",
    "cpu.idle": "0\n",
    "cpuset.cpus": "\n",
    "cpuset.cpus.effective": f"0-{(os.cpu_count() or 1) - 1}\n",
    "cpu.stat": "usage_usec 1000000\nuser_usec 600000\nsystem_usec 400000\nnr_periods 10\nnr_throttled 1\nthrottled_usec 5\n",
    "memory.min": "0\n",
    "memory.low": "0\n",
    "memory.high": "max\n",
    "io.max": "",
    "io.weight": "default 100\n",
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "memory.stat": "anon 4096\nfile 8192\ninactive_anon 2048\nactive_anon 2048\nunevictable 0\n",
}
_RULES = {
    "cpu_suppress": {"policy": "cfsQuota"},
    "cpu_burst": {"policy": "auto"},
    "memory_evict": {"threshold_percent": 99},
    "memory_qos": {"ls": {"low_percent": 100}, "be": {"throttling_percent": 50}},
    "disk": {"write_bps": 10000000, "pressure_percent": 20},
    "cpu_evict": {"satisfaction_lower_percent": 1, "satisfaction_upper_percent": 2},
}


def measure() -> Iterator[Figure]:
    """CPU in thousandths of a core, and the largest resident memory, with what the watchdog has besides."""
    for pods in (10, 100, 250):
        with recorded(pods, 0) as kubeconfig, TemporaryDirectory() as directory:
            milli, mebibytes = _cost(Path(directory), kubeconfig, pods)
        yield Figure(f"agent.pods_{pods}.milli_cpu", milli, "m")
        yield Figure(f"agent.pods_{pods}.mebibytes_peak", mebibytes, "MiB")


def _cost(directory: Path, kubeconfig: Path, pods: int) -> tuple[float, float]:
    _tree(directory / "cgroup", pods)
    (directory / "rules.json").write_text(json.dumps(_RULES))
    flags = [f"--cgroups={directory}/cgroup", f"--state={directory}/state", f"--rules={directory}/rules.json"]
    command = [sys.executable, "-m", "neaptide", "agent", "--node=node", f"--kubeconfig={kubeconfig}", *flags]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as agent:
        try:
            time.sleep(_WARM)
            children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
            while not children.read_text() and agent.poll() is None:
                time.sleep(0.1)
            [keeper] = children.read_text().split()
            both = (agent.pid, int(keeper))
            before, begin = sum(map(_cpu_seconds, both)), time.monotonic()
            time.sleep(_SECONDS)
            used = (sum(map(_cpu_seconds, both)) - before) / (time.monotonic() - begin)
            status = Path(f"/proc/{keeper}/status").read_text()
            own = Path(f"/proc/{agent.pid}/smaps_rollup").read_text()
        finally:
            agent.terminate()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    private = sum(int(line.split()[1]) for line in own.splitlines() if line.startswith("Private_"))
    return used * 1000, (int(peak) + private) / 1024


def _tree(mount: Path, pods: int) -> None:
    """Every other pod is in the tier of those that request nothing; the others have a limit of two CPUs."""
    rng = random.Random(0)
    top = mount / "kubepods"
    for group in (top, top / "burstable", top / "besteffort"):
        _group(group, "max")
    for number in range(pods):
        uid = pod(number, rng, workloads=_WORKLOADS, nodes=_NODES)["metadata"]["uid"]
        tier, quota = ("besteffort", "max") if number % 2 else ("burstable", "200000")
        for group in (top / tier / f"pod{uid}", top / tier / f"pod{uid}" / "container"):
            _group(group, quota)
    (mount / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")


def _group(group: Path, quota: str) -> None:
    group.mkdir(parents=True)
    for file, text in _FILES.items():
        (group / file).write_text(text)
    (group / "cpu.max").write_text(f"{quota} 100000\n")


def _cpu_seconds(pid: int) -> float:
    """At the kernel's precision of 10 ms."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"agent.": measure}
