"""Nodes made of plain files: the trees of control groups of both versions and drivers, /proc and /sys, as kernel and kubelet show them."""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from neaptide.agent.agent import Agent, Place
from neaptide.agent.evictions import Evictions
from neaptide.agent.layout import Layout, Listing, find
from neaptide.agent.pods import NodePods
from neaptide.agent.settings import Settings
from neaptide.kubeapi.watch import Listed, Relisted, Synced

CPUS = 4
V1 = {
    "cpu.cfs_quota_us": "-1\n",
    "cpu.cfs_period_us": "100000\n",
    "cpu.cfs_burst_us": "0\n",
    "cpu.shares": "2\n",
    "cpu.idle": "0\n",
    "cpuset.cpus": "0-3\n",
    "cpuset.effective_cpus": "0-3\n",
    "cpuacct.usage": "0\n",
    "cpu.stat": "nr_periods 0\nnr_throttled 0\n",
    "memory.stat": "cache 9\ntotal_inactive_anon 0\ntotal_active_anon 0\ntotal_unevictable 0\n",
    "memory.limit_in_bytes": "9223372036854771712\n",
    "blkio.throttle.read_bps_device": "",
    "blkio.throttle.write_bps_device": "",
    "blkio.throttle.read_iops_device": "",
    "blkio.throttle.write_iops_device": "",
    "blkio.bfq.weight": "100\n",
}
V2 = {
    "cpu.max": "max 100000\n",
    "cpu.max.burst": "0\n",
    "cpu.weight": "1\n",
    "cpu.idle": "0\n",
    "cpuset.cpus": "\n",
    "cpuset.cpus.effective": "0-3\n",
    "cpu.stat": "usage_usec 0\nnr_throttled 0\n",
    "memory.stat": "anon 0\nfile 9\ninactive_anon 0\nactive_anon 0\nunevictable 0\n",
    "memory.max": "max\n",
    "memory.min": "0\n",
    "memory.low": "0\n",
    "memory.high": "max\n",
    "io.max": "",
    "io.weight": "default 100\n",
    "io.stat": "",
    "memory.current": "0\n",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
}


@contextmanager
def only_here() -> Iterator[None]:
    """What a forked process does ends with it: an error that left it would go on running tests in two processes."""
    try:
        yield
    except BaseException:  # noqa: BLE001 - whatever it is
        traceback.print_exc()
    finally:
        os._exit(98)


def killed_at_write(nth: int, begin: Callable[[], Agent], rounds: Callable[[Agent], None]) -> bool:
    """Run an agent in a process that dies by SIGKILL just before its nth write; whether it came so far."""
    child = os.fork()
    if child == 0:
        with only_here():
            agent = begin()
            write, count = agent._files.write, 0

            def deadly(path: str, text: str) -> None:
                nonlocal count
                count += 1
                if count == nth:
                    os.kill(os.getpid(), signal.SIGKILL)
                write(path, text)

            agent._files.write = deadly  # type: ignore[method-assign]
            rounds(agent)
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


class Shape(NamedTuple):
    version: int
    systemd: bool
    root: str = "/"


SHAPES = {
    "version 1, cgroupfs": Shape(1, systemd=False),
    "version 1, systemd": Shape(1, systemd=True),
    "version 2, cgroupfs": Shape(2, systemd=False),
    "version 2, systemd": Shape(2, systemd=True),
    "version 2, systemd, a root of its own": Shape(2, systemd=True, root="/my-nodes/one"),
    "version 1, cgroupfs, a root of its own": Shape(1, systemd=False, root="/my-nodes/one"),
}


class Node:
    """A node on files; time and usage go on only when a test says so."""

    def __init__(self, directory: Path, shape: Shape) -> None:
        self.directory, self.shape = directory, shape
        self.mount, self.proc = directory / "cgroup", directory / "proc"
        self.place = Place(
            str(self.mount),
            shape.root,
            str(self.proc),
            str(directory / "sys"),
            str(directory / "kubelet"),
            directory / "state",
        )
        self.mount.mkdir(parents=True)
        if shape.version == 2:
            (self.mount / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        parts = tuple(part for part in shape.root.split("/") if part)
        self.layout = Layout(str(self.mount), shape.version, shape.systemd, parts)
        for tier in ("", "burstable", "besteffort"):
            self.make_group(self.layout.tier(tier))
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (self.proc / "sys/kernel/random/boot_id").write_text("boot-1\n")
        self.memory(used=0)
        online = directory / "sys/devices/system/cpu/online"
        online.parent.mkdir(parents=True)
        online.write_text("0-3\n")
        disk = directory / "sys/block/vda/dev"
        disk.parent.mkdir(parents=True)
        disk.write_text("254:0\n")
        self.pods = NodePods()
        self.said: list[str] = []
        self.now = 0.0
        self._seconds: dict[str, float] = {}
        self._busy = 0.0
        self._objects: list[dict[str, Any]] = []
        self._show()

    def agent(self, settings: Settings, *, dry_run: bool = False, review_every: float = 0.0) -> Agent:
        """Everything is looked at in each round, unless it is told otherwise: what a test writes comes into force at once."""
        evictions = Evictions(None, self.said.append, lambda: self.now)
        return Agent(
            self.place, settings, self.pods, evictions, self.said.append, dry_run=dry_run, review_every=review_every
        )

    def make_group(self, group: str, **texts: str) -> None:
        for file, text in (V1 if self.shape.version == 1 else V2).items():
            path = Path(self.layout.path(group, file))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts.get(file.replace(".", "_"), text))

    def pod(self, uid: str, tier: str = "besteffort", *, told: bool = True, **meta: Any) -> str:
        """A pod with one container; its group."""
        group = f"{self.layout.tier(tier)}/{self._pod_name(uid, tier)}"
        self.make_group(group)
        self.make_group(f"{group}/{'cri-containerd-c1.scope' if self.shape.systemd else 'c1'}")
        if told:
            self._objects.append(pod(uid, **meta))
            tell(self.pods, self._objects)
        return group

    def path(self, group: str, file: str) -> Path:
        return Path(self.layout.path(group, file))

    def quota(self, group: str) -> int:
        """µs in each 100 ms, however long the period is; -1 where there is none."""
        if self.shape.version == 1:
            word, period = (self.path(group, file).read_text() for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        else:
            word, period = self.path(group, "cpu.max").read_text().split()
        return -1 if word.strip() in ("max", "-1") else int(word) * 100_000 // int(period)

    def containers(self, group: str) -> list[str]:
        return self.layout.below(group, Listing())

    def limit(self, group: str, quota: int) -> None:
        """A quota of so many µs a period, as the kubelet writes it."""
        if self.shape.version == 1:
            self.path(group, "cpu.cfs_quota_us").write_text(f"{quota}\n")
        else:
            self.path(group, "cpu.max").write_text(f"{quota} 100000\n")

    def burst(self, group: str) -> int:
        return int(self.path(group, "cpu.cfs_burst_us" if self.shape.version == 1 else "cpu.max.burst").read_text())

    def throttled(self, group: str, periods: int) -> None:
        self.path(group, "cpu.stat").write_text(f"usage_usec 0\nnr_throttled {periods}\n")

    def waited(self, group: str, resource: str, seconds: float) -> None:
        """For how long some process of a group has waited so far; so have all pods."""
        for each in (group, self.layout.tier("")):
            text = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={round(seconds * 1e6)}\nfull avg10=0 total=0\n"
            self.path(each, f"{resource}.pressure").write_text(text)

    def use(self, agent: Agent, node: float = 0.0, **milli: float) -> None:
        """A second passes, in which groups used so many milli-cores (by UID; `kubepods` is their sum unless it is given), then a tick."""
        self.now += 1.0
        self._busy += (node or sum(milli.values())) / 1000
        milli.setdefault("kubepods", sum(milli.values()))
        groups = {found.uid: found.group for found in find(str(self.mount), self.shape.root).pods(Listing())}
        for uid, rate in milli.items():
            self._seconds[uid] = self._seconds.get(uid, 0.0) + rate / 1000
            group = self.layout.tier("") if uid == "kubepods" else groups[uid]
            if self.shape.version == 1:
                self.path(group, "cpuacct.usage").write_text(f"{round(self._seconds[uid] * 1e9)}\n")
            else:
                stat = self.path(group, "cpu.stat")
                rest = stat.read_text().partition("\n")[2] if stat.exists() else ""
                stat.write_text(f"usage_usec {round(self._seconds[uid] * 1e6)}\n{rest}")
        self._show()
        agent.tick(self.now)

    def memory(self, *, used: int, pods: dict[str, int] | None = None) -> None:
        """Of 1,000 MiB; pods' by group."""
        whole = 1000 * 1024
        (self.proc / "meminfo").write_text(
            f"MemTotal: {whole} kB\nMemFree: 1 kB\nMemAvailable: {whole - used * 1024} kB\n"
        )
        prefix = "total_" if self.shape.version == 1 else ""
        for group, mebibytes in (pods or {}).items():
            text = f"{prefix}inactive_anon {mebibytes << 20}\n{prefix}active_anon 0\n{prefix}unevictable 0\n"
            self.path(group, "memory.stat").write_text(text)

    def tree(self) -> dict[str, bytes]:
        """Every byte of the control groups."""
        return {str(path): path.read_bytes() for path in sorted(self.mount.rglob("*")) if path.is_file()}

    def _show(self) -> None:
        ticks = round(self._busy * 100)
        lines = [f"cpu  {ticks} 0 0 777 5 0 0 0 0 0", *(f"cpu{cpu} 0 0 0 0 0 0 0 0 0 0" for cpu in range(CPUS))]
        (self.proc / "stat").write_text("\n".join(lines) + "\n")

    def _pod_name(self, uid: str, tier: str) -> str:
        if not self.shape.systemd:
            return f"pod{uid}"
        above = self.layout.tier(tier).rpartition("/")[2].removesuffix(".slice")
        return f"{above}-pod{uid.replace('-', '_')}.slice"


def pod(
    uid: str, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """One container, main, whose group is c1 unless it is told otherwise."""
    resources = {"requests": spec.pop("requests", {}), "limits": spec.pop("limits", {})}
    status = {"containerStatuses": [{"name": "main", "containerID": "containerd://c1"}]}
    return {
        "metadata": {
            "name": f"pod-{uid}",
            "namespace": "default",
            "uid": uid,
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {"containers": [{"name": "main", "resources": resources}], **spec},
        "status": status,
    }


def tell(pods: NodePods, objects: list[dict[str, Any]]) -> None:
    """What the API server tells of the node."""
    for event in (Relisted("told"), Listed(msgspec.json.encode({"items": objects})), Synced("1")):
        pods.take(event)


def changed(node: Node, before: dict[str, bytes]) -> set[str]:
    return {path for path, content in node.tree().items() if before[path] != content and not is_usage(path)}


def forget_usage(before: dict[str, bytes]) -> None:
    for path, content in before.items():
        if is_usage(path):
            Path(path).write_bytes(content)


def is_usage(path: str) -> bool:
    return path.endswith(("cpuacct.usage", "cpu.stat"))
