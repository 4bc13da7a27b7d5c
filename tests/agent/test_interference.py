"""The agent on a node where a service suffers: the culprit is held back, then evicted, and let go again; the NodeMetric says so."""

from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import Node, Shape

from neaptide.agent.evictions import Evictions
from neaptide.agent.interference import Interference
from neaptide.agent.latencies import Latency
from neaptide.agent.settings import Settings, SettingsError, settings
from neaptide.model.node_metric import FINDINGS, SIGNALS, Objective
from neaptide.noderules.interference import InterferenceSettings, Step

RULE = InterferenceSettings(patience_seconds=20, calm_seconds=30)
LS, BE = {"koordinator.sh/qosClass": "LS"}, {"koordinator.sh/qosClass": "BE"}
both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])


class Scene:
    """A service whose one process waits for a CPU as long as a test says, and two pods that give way."""

    def __init__(self, directory: Path, shape: Shape) -> None:
        self.node = Node(directory, shape)
        self.service = self.node.pod("web", "burstable", labels=LS)
        self.job, self.other = self.node.pod("job", labels=BE), self.node.pod("other", labels=BE)
        self.agent = self.node.agent(Settings(cpu_suppress=None, group_priority=None))
        self.said: list[str] = []
        evictions = Evictions(None, self.said.append, lambda: self.node.now)
        self.rule = Interference(RULE, evictions, self.said.append, str(self.node.proc), self.node.place.sysfs)
        self.agent.adders.append(self.rule.wanted)
        self._waited = 0.0
        procs = Path(self.node.layout.directory(self.service), "cgroup.procs")
        procs.write_text("17\n")
        (self.node.proc / "17").mkdir()

    def second(self, wait: float, **used: float) -> None:
        """A second, in which the service waits for so much of it."""
        self._waited += wait
        (self.node.proc / "17/schedstat").write_text(f"0 {round(self._waited * 1e9)} 0\n")
        self.node.use(self.agent, **{"web": 500.0, **used})


@both_versions
def test_the_culprit_is_held_back_then_evicted_and_its_limit_goes_when_all_is_calm(
    tmp_path: Path, shape: Shape
) -> None:
    scene = Scene(tmp_path, shape)
    for _ in range(150):
        scene.second(0.01, job=0.0, other=700.0)
    assert FINDINGS not in scene.rule.extension("web")
    for at in range(32):
        scene.second(0.6 if at >= 2 else 0.01, job=1500.0 if at >= 2 else 0.0, other=700.0)
    quota = scene.node.quota(scene.job)
    assert 0 < quota <= 0.25 * 150_000 + 1
    assert scene.node.quota(scene.other) == -1
    finding: Any = scene.rule.extension("web")[FINDINGS]
    assert (finding["step"], finding["culprit"]) == ("SUPPRESS", "default/pod-job")
    assert "time waited for a CPU, percent" in finding["evidence"]
    assert "the CPU of default/pod-job goes up and down with it" in finding["evidence"]
    for _ in range(25):
        scene.second(0.6, job=1500.0, other=700.0)
    assert any("would evict default/pod-job: default/pod-web suffers" in line for line in scene.said)
    for _ in range(150):
        scene.second(0.01, job=0.0, other=700.0)
    assert scene.node.quota(scene.job) == -1
    assert FINDINGS not in scene.rule.extension("web")
    scene.agent.close()


def test_a_service_whose_wait_nobody_can_tell_is_no_victim(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(1, systemd=False))
    Path(scene.node.layout.directory(scene.service), "cgroup.procs").write_text("18\n")
    for _ in range(60):
        scene.second(0.9, job=1500.0, other=1.0)
    assert FINDINGS not in scene.rule.extension("web")
    assert scene.said == []
    scene.agent.close()


def test_pressure_is_the_signal_where_the_kernel_has_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(2, systemd=True))
    scene.agent.close()
    scene.agent = scene.node.agent(Settings(cpu_suppress=None, group_priority=None, interference=RULE))
    scene.agent.adders.append(scene.rule.wanted)
    waited = 0.0
    for at in range(190):
        waited += 0.7 if at >= 150 else 0.01
        scene.node.waited(scene.service, "cpu", waited)
        scene.second(0.0, job=1500.0 if at >= 150 else 0.0, other=700.0)
    assert scene.rule.extension("web")[FINDINGS]["culprit"] == "default/pod-job"
    scene.agent.close()


def test_who_keeps_the_disks_busy_is_throttled_and_let_go_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(2, systemd=True))
    waited, done = 0.0, 0

    def second(*, busy: bool) -> None:
        nonlocal waited, done
        waited, done = waited + (0.6 if busy else 0.01), done + (40 << 20 if busy else 0)
        scene.node.waited(scene.service, "io", waited)
        scene.node.path(scene.job, "io.stat").write_text(
            f"254:0 rbytes=0 wbytes={done} rios=0 wios=9 dbytes=0 dios=0\n"
        )
        scene.second(0.0, job=100.0, other=700.0)

    for at in range(182):
        second(busy=at >= 152)
    (line,) = scene.node.path(scene.job, "io.max").read_text().splitlines()
    assert line == f"254:0 rbps={10 << 20} wbps={10 << 20} riops=max wiops=max"
    assert scene.node.quota(scene.job) == -1
    assert "time waited for disks, percent" in scene.rule.extension("web")[FINDINGS]["evidence"]
    for _ in range(150):
        second(busy=False)
    assert FINDINGS not in scene.rule.extension("web")
    assert "wbps=10" not in scene.node.path(scene.job, "io.max").read_text()
    scene.agent.close()


def test_who_takes_the_memory_is_evicted_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(2, systemd=True))
    waited = 0.0
    for at in range(182):
        waited += 0.3 if at >= 152 else 0.001
        scene.node.waited(scene.service, "memory", waited)
        scene.node.path(scene.job, "memory.current").write_text(f"{(500 if at >= 152 else 50) << 20}\n")
        scene.second(0.0, job=100.0, other=700.0)
    assert any("would evict default/pod-job: default/pod-web suffers" in line for line in scene.said)
    assert any("the memory of default/pod-job goes up and down" in line for line in scene.said)
    scene.agent.close()


@pytest.mark.parametrize("suffer", [True, False], ids=["twins suffer too", "twins do not"])
def test_a_service_is_a_victim_only_where_its_twins_fare_better(tmp_path: Path, *, suffer: bool) -> None:
    scene = Scene(tmp_path, Shape(1, systemd=False))
    scene.rule.twins = lambda: {"web": {"cpu": 50.0 if suffer else 2.0}}
    for at in range(182):
        busy = at >= 152
        scene.second(0.6 if busy else 0.01, job=1500.0 if busy else 0.0, other=700.0)
    assert (FINDINGS in scene.rule.extension("web")) is not suffer
    assert scene.rule.extension("web")[SIGNALS] == {"lately": {"cpu": 60.0}}
    assert scene.rule.suffering() == ([] if suffer else ["web"])
    scene.agent.close()


def test_it_is_news_that_a_service_suffers_and_what_is_done(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(1, systemd=False))
    news: list[int] = []
    for at in range(186):
        busy = at >= 152
        scene.second(0.6 if busy else 0.01, job=1500.0 if busy else 0.0, other=700.0)
        if scene.rule.news != (news or [0])[-1]:
            news.append(scene.rule.news)
    # The looks, each 5 s, that saw it suffer before the step that comes after 20 s, and that.
    assert news == [1, 2, 3, 4, 5]
    scene.agent.close()


def test_rounds_that_come_a_little_early_take_no_sample_away(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(1, systemd=False))
    scene.rule = Interference(
        RULE._replace(sample_seconds=1.0, patience_seconds=3.0),
        Evictions(None, scene.said.append, lambda: scene.node.now),
        scene.said.append,
        str(scene.node.proc),
        scene.node.place.sysfs,
    )
    scene.agent.adders[:] = [scene.rule.wanted]
    for at in range(36):
        scene.node.now -= 0.002  # of the second that passes with each round
        scene.second(0.6 if at >= 28 else 0.01, job=1500.0 if at >= 28 else 0.0, other=700.0)
    assert scene.node.quota(scene.job) > 0
    scene.agent.close()


@pytest.mark.parametrize(
    ("resource", "limit"), [("cpu", "nr_periods 10\nnr_throttled {}\n"), ("memory", "high {}\nmax 0\n")]
)
def test_a_service_that_meets_its_own_limit_blames_nobody(tmp_path: Path, resource: str, limit: str) -> None:
    scene = Scene(tmp_path, Shape(2, systemd=True))
    waited = 0.0
    file = {"cpu": "cpu.stat", "memory": "memory.events"}[resource]
    for at in range(190):
        waited += 0.7 if at >= 150 else 0.01
        scene.node.waited(scene.service, resource, waited)
        text = limit.format(9 * (at - 149) if at >= 150 else 0).replace("periods 10", f"periods {10 * (at + 1)}")
        scene.node.path(scene.service, file).write_text(("usage_usec 0\n" if resource == "cpu" else "") + text)
        scene.second(0.0, job=1500.0 if at >= 150 else 0.0, other=700.0)
    assert FINDINGS not in scene.rule.extension("web")
    assert any("default/pod-web" in line and "own" in line and "nobody beside it" in line for line in scene.said)
    scene.agent.close()


def test_a_service_whose_own_latency_rises_is_a_victim_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Shape(2, systemd=True))
    latency = 0.01
    scene.agent.latencies = lambda: {"web": Latency(Objective(latency, 0.02, 0.99), scene.node.now)}
    for at in range(182):
        latency = 0.05 if at >= 152 else 0.01
        scene.second(0.0, job=1500.0 if at >= 152 else 0.0, other=700.0)
    finding: Any = scene.rule.extension("web")[FINDINGS]
    assert (finding["step"], finding["culprit"]) == ("SUPPRESS", "default/pod-job")
    assert "latency, ms 50" in finding["evidence"]
    scene.agent.close()


def test_the_rule_is_a_setting_and_off_by_default() -> None:
    assert Settings().interference is None
    found = settings({"interference": {"confidence": 0.7, "last": 1}}).interference
    assert found is not None
    assert (found.confidence, found.last) == (0.7, Step.SUPPRESS)
    with pytest.raises(SettingsError, match=r"interference\.last"):
        settings({"interference": {"last": 9}})


@both_versions
def test_of_two_limits_the_tighter_holds_and_what_is_gone_is_forgotten(tmp_path: Path, shape: Shape) -> None:
    scene = Scene(tmp_path, shape)
    group = scene.job
    scene.agent.adders[:] = [
        lambda now, look, groups: groups.quota(group, 300.0),  # noqa: ARG005 - an adder's arguments
        lambda now, look, groups: groups.quota(group, 900.0),  # noqa: ARG005 - as above
    ]
    scene.second(0.0)
    scene.second(0.0)
    assert scene.node.quota(group) == 30_000
    scene.agent.adders[:] = [
        lambda now, look, groups: groups.quota(group, 900.0),  # noqa: ARG005 - as above
        lambda now, look, groups: groups.quota(group, 300.0),  # noqa: ARG005 - as above
    ]
    scene.second(0.0)
    assert scene.node.quota(group) == 30_000
    scene.agent.close()
