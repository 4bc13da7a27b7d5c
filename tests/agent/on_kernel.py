"""Run inside a virtual machine by test_kernel_v2.py: the agent on a real kernel's control groups of version 2, as root, and nobody else there.

The machine has 2 sockets of 2 cores of 2 threads, a NUMA node each, and a disk. A kubelet's groups are made by hand.
"""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import killed_at_write, pod, tell

from neaptide.agent import topology
from neaptide.agent.agent import Agent, Place
from neaptide.agent.binding import STATUS
from neaptide.agent.evictions import Evictions
from neaptide.agent.files import Files
from neaptide.agent.interference import Interference
from neaptide.agent.layout import Layout
from neaptide.agent.pods import NodePods
from neaptide.agent.pressure import Pressures
from neaptide.agent.settings import Settings, settings
from neaptide.model.node_metric import FINDINGS
from neaptide.noderules.cpuset import Cpu
from neaptide.noderules.interference import InterferenceSettings, Step

MOUNT = Path("/sys/fs/cgroup")
CONTROLLERS = "+cpu +cpuset +memory +io"
MIB = 2**20
BE = {"koordinator.sh/qosClass": "BE"}
WITHIN = 180.0
LOOP = "while True: pass"
IS_USAGE = (".stat", ".pressure", ".events", ".events.local", ".current", ".peak", ".effective", ".procs", ".threads")
ALL: dict[str, Any] = {
    "cpu_suppress": {"policy": "cfsQuota", "threshold_percent": 50},
    "group_priority": {"use": "auto"},
    "cpu_burst": {"policy": "auto"},
    "memory_qos": {"ls": {"min_percent": 50, "low_percent": 100}, "be": {"throttling_percent": 50}},
    "disk": {"devices": ["vda"], "write_bps": 300 << 10, "read_iops": 100},
}
OFF = {"cpu_suppress": None, "group_priority": None}


class Node:
    """The kubelet's groups on the kernel, with usage that only a test changes: the machine's own would be the node's."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(str(MOUNT), 2, False, ())
        self.place = Place(str(MOUNT), "/", str(directory / "proc"), "/sys", str(directory), directory / "state")
        (directory / "proc/sys/kernel/random").mkdir(parents=True)
        (directory / "proc/sys/kernel/random/boot_id").write_text("this boot\n")
        (directory / "proc/meminfo").write_text("MemTotal: 1024000 kB\nMemAvailable: 1000000 kB\n")
        self._stat = directory / "proc/stat"
        self.busy(0)
        (MOUNT / "cgroup.subtree_control").write_text(CONTROLLERS)
        for tier in ("", "burstable", "besteffort"):
            self.make(self.layout.tier(tier))
        self.pods, self.said, self._objects = NodePods(), list[str](), list[dict[str, Any]]()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.now = 0.0

    def make(self, group: str) -> None:
        Path(f"{MOUNT}{group}").mkdir(parents=True, exist_ok=True)
        above = group.rpartition("/")[0]
        Path(f"{MOUNT}{above}/cgroup.subtree_control").write_text(CONTROLLERS)

    def pod(self, uid: str, tier: str, **meta: Any) -> str:
        """A pod with one container; the container's group."""
        group = f"{self.layout.tier(tier)}/pod{uid}"
        self.make(group)
        self.make(f"{group}/c1")
        self._objects.append(pod(uid, **meta))
        tell(self.pods, self._objects)
        return f"{group}/c1"

    def agent(self, content: dict[str, Any]) -> Agent:
        evictions = Evictions(None, self.said.append, lambda: self.now)
        return Agent(self.place, self.chosen(content), self.pods, evictions, self.said.append)

    def chosen(self, content: dict[str, Any]) -> Settings:
        return settings(content)

    def busy(self, cpus: float) -> None:
        """So many CPUs were busy for another second."""
        before = int(self._stat.read_text().split()[1]) if self._stat.exists() else 0
        lines = [f"cpu {before + round(cpus * 100)} 0 0 0 0 0 0 0 0 0", *(f"cpu{cpu} 0" for cpu in range(8))]
        self._stat.write_text("\n".join(lines) + "\n")

    def tick(self, agent: Agent, cpus: float = 0.0) -> None:
        self.busy(cpus)
        self.now += 1.0
        agent.tick(self.now)

    def read(self, group: str, file: str) -> str:
        return Path(f"{MOUNT}{group}/{file}").read_text().strip()

    def start(self, group: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A Python program in a group, once it is in there."""
        enter = f"import os; open('{MOUNT}{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        flags = ["-I", "-S", "-c", enter + program]
        process = subprocess.Popen([sys.executable, *flags, *arguments], stderr=subprocess.DEVNULL)  # noqa: S603
        self._processes.append(process)
        eventually(lambda: str(process.pid) in self.read(group, "cgroup.procs").split(), "it is in its group")
        return process

    def settings(self) -> dict[str, bytes]:
        """Every setting of every group."""
        files = [path for path in sorted((MOUNT / "kubepods").rglob("*")) if path.is_file()]
        found = {}
        for path in files:
            if path.stat().st_mode & 0o200 and path.stat().st_mode & 0o400 and not path.name.endswith(IS_USAGE):
                with contextlib.suppress(OSError):
                    found[str(path)] = path.read_bytes()
        return found

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for group in sorted((MOUNT / "kubepods").rglob("*"), key=lambda path: -len(path.parts)):
            if group.is_dir():
                eventually(lambda group=group: _removed(group), f"{group} is gone")  # type: ignore[misc]


class Watch:
    """An agent that does nothing but look for interference, and answers at once."""

    def __init__(self, node: Node, last: Step) -> None:
        self._agent = node.agent(OFF)
        rule = InterferenceSettings(patience_seconds=1.0, sample_seconds=0.5, last=last)
        self._rule = Interference(rule, Evictions(None, node.said.append, time.monotonic), node.said.append)
        self._agent.adders.append(self._rule.wanted)

    def finding(self, seconds: float = 0.0) -> dict[str, str]:
        """What is found about the service after so many seconds of rounds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.25)
            self._agent.tick(time.monotonic())
        found: dict[str, str] = self._rule.extension("ls").get(FINDINGS, {})
        return found

    def close(self) -> None:
        assert self._agent.restore() == 0
        self._agent.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.close()


@pytest.fixture
def pods(node: Node) -> tuple[str, str, str]:
    """Containers: of a service with a limit, of a pod that requests nothing, and of one that says it gives way."""
    service = node.pod("ls", "burstable", requests={"memory": "100Mi"})
    for group in (service, service.rpartition("/")[0]):
        Path(f"{MOUNT}{group}/cpu.max").write_text("50000 100000")
    labelled = node.pod("be-2", "burstable", labels=BE, requests={"memory": "10Mi"}, limits={"memory": "30Mi"})
    return service, node.pod("be-1", "besteffort"), labelled


def test_the_kernel_offers_all_that_the_rules_want(node: Node) -> None:
    agent = node.agent({})
    told = [str(feature) for feature in agent.features()]
    assert told[0] == "control groups version 2, driver cgroupfs, pods in /kubepods: yes"
    assert all(": yes" in line for line in told if "not managed" not in line), told
    agent.close()


def test_every_rule_writes_what_the_kernel_then_says_and_all_comes_back(node: Node, pods: tuple[str, str, str]) -> None:
    service, loop, labelled = pods
    before = node.settings()
    agent = node.agent(ALL)
    node.tick(agent)
    node.tick(agent)
    assert node.said[1:] == []
    tier, pod_loop, pod_labelled = "/kubepods/besteffort", loop.rpartition("/")[0], labelled.rpartition("/")[0]
    assert node.read(tier, "cpu.max") == "2000000 1000000"
    assert node.read(pod_labelled, "cpu.max") == "2000000 1000000"
    for group in (pod_loop, pod_labelled):
        assert node.read(group, "cpu.idle") == "1"
        assert node.read(group, "io.weight") == "default 10"
    assert node.read(service, "cpu.max.burst") == "50000"
    for group in (service, "/kubepods/burstable", "/kubepods"):
        assert (node.read(group, "memory.min"), node.read(group, "memory.low")) == (str(50 * MIB), str(100 * MIB))
    assert node.read(labelled, "memory.high") == str(20 * MIB)
    numbers = Path("/sys/block/vda/dev").read_text().strip()
    for group in (tier, pod_labelled):
        assert node.read(group, "io.max") == f"{numbers} rbps=max wbps={150 << 10} riops=50 wiops=max"
    written = node.settings()
    agent._files.write = _never  # type: ignore[method-assign]
    node.tick(agent)
    assert node.settings() == written
    del agent._files.write
    assert agent.restore() == 0
    agent.close()
    assert node.settings() == before


def test_by_weight_and_cpu_set_too(node: Node, pods: tuple[str, str, str]) -> None:
    before = node.settings()
    _, loop, labelled = pods
    agent = node.agent({"cpu_suppress": {"threshold_percent": 62}, "group_priority": {"use": "weight"}})
    node.tick(agent)
    node.tick(agent, 1.0)
    assert node.said[1:] == []
    for group in ("/kubepods/besteffort", labelled.rpartition("/")[0]):
        assert node.read(group, "cpuset.cpus") == "0-1,4-5", "one core of each socket, both its threads"
    assert node.read(loop, "cpuset.cpus.effective") == "0-1,4-5"
    node.tick(agent, 3.0)
    assert node.read(loop, "cpuset.cpus.effective") == "0-1"
    assert node.read(loop.rpartition("/")[0], "cpu.weight") == "1"
    assert agent.restore() == 0
    agent.close()
    assert node.settings() == before


def test_pods_have_the_cpus_written_down_for_them_and_the_others_share_the_rest(node: Node) -> None:
    def own(qos: str, cpus: str) -> dict[str, Any]:
        annotations = {STATUS: json.dumps({"cpuset": cpus})}
        return {"labels": {"koordinator.sh/qosClass": qos}, "annotations": annotations, "requests": {"cpu": "2"}}

    lse, lsr = node.pod("lse", "", **own("LSE", "0-1")), node.pod("lsr", "burstable", **own("LSR", "2-3"))
    service, loop = node.pod("ls", "burstable"), node.pod("be", "besteffort")
    Path(f"{MOUNT}{lse}/cpu.max").write_text("200000 100000")
    before = node.settings()
    agent = node.agent({"cpu_suppress": {"threshold_percent": 100}})
    node.tick(agent)
    node.tick(agent)
    sets = [node.read(group, "cpuset.cpus.effective") for group in (lse, lsr, service, loop)]
    assert sets == ["0-1", "2-3", "4-7", "2-7"]
    assert node.read(lse, "cpu.max") == "max 100000"
    assert agent.restore() == 0
    agent.close()
    assert node.settings() == before


def test_the_topology_is_that_of_the_machine() -> None:
    found = topology.cpus("/sys")
    assert [(cpu.socket, cpu.numa) for cpu in found] == [(0, 0)] * 4 + [(1, 1)] * 4
    assert [cpu.core for cpu in found] == [0, 0, 2, 2, 4, 4, 6, 6]
    assert found[0] == Cpu(0, 0, 0, 0)


@pytest.mark.parametrize("nth", [1, 2, 4, 7, 10, 13, 16])
def test_killed_at_a_write_the_next_start_gives_everything_back(
    node: Node, pods: tuple[str, str, str], nth: int
) -> None:
    assert pods
    before = node.settings()

    def rounds(agent: Agent) -> None:
        for _ in range(3):
            node.tick(agent)

    assert killed_at_write(nth, lambda: node.agent(ALL), rounds)
    assert nth == 1 or node.settings() != before
    agent = node.agent(ALL)
    assert agent.restore() == 0
    agent.close()
    assert node.settings() == before


def test_a_quota_holds_a_loop_back_and_its_waiting_is_seen(node: Node, pods: tuple[str, str, str]) -> None:
    _, loop, _ = pods
    agent = node.agent(ALL)
    pressures = Pressures(node.layout, Files())
    node.start(loop, LOOP)
    node.tick(agent)
    node.tick(agent, 7.9)
    assert node.read("/kubepods/besteffort", "cpu.max") == "10000 1000000", "half of the least, which two pods share"
    pressures.of([loop], time.monotonic())
    eventually(lambda: _field(node, "/kubepods/besteffort", "nr_throttled") > 2, "it is throttled")
    assert (pressures.of([loop], time.monotonic())[loop].cpu or 0.0) > 50
    assert agent.restore() == 0
    agent.close()


def test_an_idle_pod_leaves_the_cpu_to_a_service(node: Node) -> None:
    service = node.pod("ls", "burstable")
    labelled = node.pod("be-2", "burstable", labels=BE)
    agent = node.agent({"cpu_suppress": None})
    node.tick(agent)
    node.tick(agent)
    for group in (service, labelled):
        Path(f"{MOUNT}{group}/cpuset.cpus").write_text("2")
        node.start(group, LOOP)
    began = [_field(node, group, "usage_usec") for group in (service, labelled)]
    eventually(lambda: _field(node, service, "usage_usec") - began[0] > 1_000_000, "the service ran for a second")
    assert (_field(node, labelled, "usage_usec") - began[1]) * 4 < _field(node, service, "usage_usec") - began[0]
    agent.close()


def test_who_keeps_a_service_from_its_cpu_is_found_by_the_kernels_pressure_and_held_back(node: Node) -> None:
    service, other, job = node.pod("ls", "burstable"), node.pod("be-1", "besteffort"), node.pod("be-2", "besteffort")
    for group in (service, job):
        Path(f"{MOUNT}{group}/cpuset.cpus").write_text("2")
    watch = Watch(node, Step.SUPPRESS)
    works = "import time\nwhile True:\n    end = time.monotonic() + 0.05\n    while time.monotonic() < end: pass\n    time.sleep(0.05)\n"
    node.start(service, works)
    node.start(other, works)
    busy = node.start(job, LOOP)
    busy.send_signal(signal.SIGSTOP)
    assert watch.finding(15.0) == {}
    busy.send_signal(signal.SIGCONT)
    eventually(lambda: watch.finding(0.5).get("step") == "SUPPRESS", "the culprit is held back")
    assert watch.finding()["culprit"] == "default/pod-be-2"
    held = {group: node.read(group.rpartition("/")[0], "cpu.max").split() for group in (other, job)}
    assert held[other][0] == "max"
    assert int(held[job][0]) * 2 < int(held[job][1])
    watch.close()


def test_who_keeps_a_service_from_its_disk_is_found_and_throttled(node: Node) -> None:
    service, other, job = node.pod("ls", "burstable"), node.pod("be-1", "besteffort"), node.pod("be-2", "besteffort")
    watch = Watch(node, Step.THROTTLE_DISK)
    opened = "import mmap, os, time\nblock = mmap.mmap(-1, {})\ndisk = os.open('/dev/vda', os.O_RDWR | os.O_DIRECT)\n"
    now_and_then = "while True:\n    os.preadv(disk, [block], 0)\n    time.sleep(0.05)\n"
    for group in (service, other):
        node.start(group, opened.format(4096) + now_and_then)
    writes = opened.format(4 << 20) + "while True: os.pwrite(disk, block, 4 << 20)\n"
    writers = [node.start(job, writes) for _ in range(8)]
    for each in writers:
        each.send_signal(signal.SIGSTOP)
    assert watch.finding(15.0) == {}
    for each in writers:
        each.send_signal(signal.SIGCONT)
    eventually(lambda: watch.finding(0.5).get("step") == "THROTTLE_DISK", "the culprit is throttled")
    assert watch.finding()["culprit"] == "default/pod-be-2"
    assert "wbps=" in node.read(job.rpartition("/")[0], "io.max")
    assert node.read(other.rpartition("/")[0], "io.max") == ""
    watch.close()


def test_who_takes_a_services_memory_is_found_and_evicted(node: Node) -> None:
    service, _, job = node.pod("ls", "burstable"), node.pod("be-1", "besteffort"), node.pod("be-2", "besteffort")
    Path(f"{MOUNT}/kubepods/memory.max").write_text(str(120 * MIB))
    watch = Watch(node, Step.EVICT)
    reads = (
        "import os, time\ndisk = os.open('/dev/vda', os.O_RDONLY)\n"
        "while True:\n    for at in range(0, 48 << 20, 1 << 20): os.pread(disk, 1 << 20, at)\n    time.sleep(0.05)\n"
    )
    node.start(service, reads)
    takes = "import time\nheld = bytearray(90 << 20)\ntime.sleep(1000)\n"
    assert watch.finding(15.0) == {}
    node.start(job, takes)
    eventually(lambda: watch.finding(0.5).get("step") == "EVICT", "the culprit is to go")
    assert watch.finding()["culprit"] == "default/pod-be-2"
    assert any("would evict default/pod-be-2" in line for line in node.said)
    watch.close()


def test_a_disk_limit_makes_a_writer_wait(node: Node, pods: tuple[str, str, str]) -> None:
    _, loop, _ = pods
    agent = node.agent({**OFF, "disk": {"devices": ["vda"], "write_bps": 64 << 10}})
    node.tick(agent)
    node.tick(agent)
    writing = (
        "import mmap, os, sys\n"
        "block = mmap.mmap(-1, 65536)\n"
        "disk = os.open('/dev/vda', os.O_WRONLY | os.O_DIRECT)\n"
        "while True: os.pwrite(disk, block, 0)\n"
    )
    node.start(loop, writing)
    pressures = Pressures(node.layout, Files())
    eventually(lambda: _total(node, loop, "io") > 500_000, "it waited for half a second")
    pressures.of([loop], time.monotonic())
    began = _total(node, loop, "io")
    eventually(lambda: _total(node, loop, "io") - began > 500_000, "and for another")
    assert (pressures.of([loop], time.monotonic())[loop].io or 0.0) > 10
    agent.close()


def test_above_its_high_mark_a_pod_is_reclaimed_from_and_a_service_is_not(node: Node) -> None:
    labelled = node.pod("be-2", "burstable", labels=BE, requests={"memory": "10Mi"}, limits={"memory": "60Mi"})
    agent = node.agent({**OFF, "memory_qos": {"be": {"throttling_percent": 20}}})
    node.tick(agent)
    node.tick(agent)
    assert node.read(labelled, "memory.high") == str(20 * MIB)
    node.start(labelled, "import time\nheld = bytearray(40 << 20)\ntime.sleep(1000)\n")
    eventually(lambda: "high 0" not in node.read(labelled, "memory.events").splitlines(), "it passed its high mark")
    agent.close()


def test_a_pod_with_reclaimed_limits_has_no_more_than_those(node: Node) -> None:
    amounts = {"kubernetes.io/batch-memory": "32Mi", "kubernetes.io/batch-cpu": "100"}
    job = node.pod("be-1", "besteffort", labels=BE, requests=amounts, limits=amounts)
    other = node.pod("be-2", "besteffort", labels=BE)
    before = node.settings()
    agent = node.agent(OFF)
    node.tick(agent)
    node.tick(agent)
    assert node.read(job, "memory.max") == str(32 * MIB)
    assert node.read(job.rpartition("/")[0], "cpu.max") == "100000 1000000"
    taking = "held = bytearray(60 << 20)\nimport time\ntime.sleep(1000)\n"
    kept = node.start(other, taking)
    assert node.start(job, taking).wait(WITHIN) == -signal.SIGKILL
    assert kept.poll() is None
    assert agent.restore() == 0
    agent.close()
    assert node.settings() == before


def test_memory_that_balloons_faster_than_a_round_hits_pods_that_give_way_and_no_service(node: Node) -> None:
    service, offline = node.pod("ls", "burstable", requests={"memory": "60Mi"}), node.pod("be-1", "besteffort")
    Path(f"{MOUNT}/kubepods/memory.max").write_text(str(160 * MIB))
    for group in (service, offline):  # as the kubelet sets it for containers
        Path(f"{MOUNT}{group}/memory.oom.group").write_text("1")
    agent = node.agent({**ALL, "memory_evict": {"threshold_percent": 70}})
    node.tick(agent)
    node.tick(agent)
    # The kubelet's scores: 1000 for a pod that requests nothing, less for one that requests something.
    score = "open('/proc/self/oom_score_adj', 'w').write('{}')\n"
    held = node.start(service, score.format(920) + "import time\nheld = b'x' * (60 << 20)\ntime.sleep(1000)\n")
    eventually(lambda: int(node.read(service, "memory.current")) > 60 * MIB, "the service has its memory")
    balloons = "held = []\nwhile True: held.append(b'x' * (8 << 20))\n"
    ended = node.start(offline, score.format(1000) + balloons)
    assert ended.wait(WITHIN) == -signal.SIGKILL
    assert held.poll() is None
    killed = {group: _killed(node, group) for group in (service, offline)}
    assert (killed[service], killed[offline] > 0) == (0, True)
    node.tick(agent)
    assert agent.restore() == 0
    agent.close()


def test_a_pod_that_goes_between_reading_and_writing_stops_nothing(node: Node, pods: tuple[str, str, str]) -> None:
    _, loop, labelled = pods
    agent = node.agent(ALL)
    node.tick(agent)
    write = agent._files.write

    def late(path: str, text: str) -> None:
        with contextlib.suppress(OSError):
            Path(f"{MOUNT}{loop}").rmdir()
            Path(f"{MOUNT}{loop.rpartition('/')[0]}").rmdir()
        write(path, text)

    agent._files.write = late  # type: ignore[method-assign]
    node.tick(agent)
    assert node.read(labelled.rpartition("/")[0], "cpu.idle") == "1"
    node.tick(agent)
    assert agent.restore() == 0
    agent.close()


def eventually(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def _never(path: str, text: str) -> None:
    raise AssertionError(f"{text!r} was written to {path}, which the kernel says already")


def _field(node: Node, group: str, name: str) -> int:
    fields = dict(line.split() for line in node.read(group, "cpu.stat").splitlines())
    return int(fields[name])


def _killed(node: Node, group: str) -> int:
    fields = dict(line.split() for line in node.read(group, "memory.events").splitlines())
    return int(fields["oom_kill"])


def _total(node: Node, group: str, resource: str) -> int:
    return int(node.read(group, f"{resource}.pressure").splitlines()[0].rpartition("total=")[2])
