"""The watchdog: where an agent dies or hangs, services get back what they had, and best-effort pods stay held back."""

import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from tests.agent.test_binding import own
from tests.agent.trees import Node, Shape, only_here
from tests.kube.live import eventually

from neaptide.agent.settings import Settings
from neaptide.agent.watchdog import DIED, Heartbeat, restore_services, watched
from neaptide.noderules.cpu_suppress import SuppressSettings

both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])
ALL = Settings(SuppressSettings(policy="cfsQuota", threshold_percent=50), group_priority=None)


class Scene:
    """A node with a pod that has CPUs of its own, a service that shares the rest, and a pod that gives way."""

    def __init__(self, directory: Path, shape: Shape) -> None:
        self.node = Node(directory / "node", shape)
        self.lse = self.node.pod("lse", "", **own("LSE", "0"))
        self.service = self.node.pod("ls", "burstable")
        self.node.pod("be")
        self.before = self.node.tree()
        self.pid = directory / "pid"

    def watch(self, end: Callable[[], None], *, silent_for: float = 60.0) -> int:
        """A watchdog in a process of its own, whose agent goes round three times and then ends so; the watchdog's process."""
        child = os.fork()
        if child == 0:
            with only_here():
                os._exit(
                    watched(lambda heartbeat: self._agent(heartbeat, end), self._restore, print, silent_for=silent_for)
                )
        return child

    def _restore(self, paths: Collection[str]) -> None:
        if restore_services(self.node.place.state, "boot-1", self.node.shape.version, paths):
            os._exit(99)

    def _agent(self, heartbeat: Heartbeat, end: Callable[[], None]) -> int:
        agent = self.node.agent(ALL)
        for _ in range(3):
            self.node.use(agent, be=1000)
            heartbeat(agent.of_services)
        self.pid.write_text(str(os.getpid()))
        end()
        agent.restore()
        agent.close()
        return 7

    def services_are_as_before(self) -> bool:
        tree = self.node.tree()
        return all(tree[path] == text for path, text in self.before.items() if self._is_setting(path))

    def _is_setting(self, path: str) -> bool:
        return (self.lse in path or self.service in path) and path.endswith(("cpuset.cpus", "quota_us", "cpu.max"))

    def held_back(self) -> bool:
        return self.node.quota(self.node.layout.tier("besteffort")) > 0


@both_versions
def test_an_agent_that_is_killed_leaves_services_as_they_were_and_best_effort_pods_held_back(
    tmp_path: Path, shape: Shape
) -> None:
    scene = Scene(tmp_path, shape)
    assert _code(scene.watch(lambda: os.kill(os.getpid(), signal.SIGKILL))) == DIED
    assert scene.services_are_as_before()
    assert scene.held_back()
    agent = scene.node.agent(ALL)
    assert agent.restore() == 0
    assert not scene.held_back()
    agent.close()


@both_versions
def test_one_that_fails_is_like_one_that_is_killed(tmp_path: Path, shape: Shape) -> None:
    scene = Scene(tmp_path, shape)
    assert _code(scene.watch(_fail)) == DIED
    assert scene.services_are_as_before()
    assert scene.held_back()


@both_versions
def test_one_that_hangs_is_ended(tmp_path: Path, shape: Shape) -> None:
    scene = Scene(tmp_path, shape)
    assert _code(scene.watch(lambda: time.sleep(10_000), silent_for=10.0)) == DIED
    assert scene.services_are_as_before()
    assert scene.held_back()


def test_one_that_ends_by_itself_has_undone_all_and_its_code_is_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(2, systemd=False))
    assert _code(scene.watch(lambda: None)) == 7
    assert scene.services_are_as_before()
    assert not scene.held_back()


def test_an_agent_does_not_outlive_its_watchdog(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(2, systemd=False))
    watchdog = scene.watch(lambda: time.sleep(10_000))
    eventually(lambda: scene.pid.exists() and scene.pid.read_text() != "", "the agent goes round")
    os.kill(watchdog, signal.SIGKILL)
    os.waitpid(watchdog, 0)
    eventually(lambda: not _lives(int(scene.pid.read_text())), "the agent is gone")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _fail() -> None:
    raise RuntimeError("something unforeseen")


def _code(process: int) -> int:
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)
