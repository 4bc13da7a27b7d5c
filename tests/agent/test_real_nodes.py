"""The agent on a real kubelet's pods: it limits those that give way, touches no other, and leaves no trace."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.kube.live import eventually
from tests.skips import MACHINE_CANNOT

from neaptide.agent.binding import STATUS
from neaptide.agent.evictions import REASON
from neaptide.agent.objectives import ANNOTATION as SLO
from neaptide.testbed.colocation import programs
from neaptide.testbed.realnodes.cluster import RealNodes
from neaptide.testbed.realnodes.pods import Pod, Pods, manifest

WITHIN = 60.0
LOOP = ["sh", "-c", "while :; do :; done"]
ON_DEMAND = ["sh", "-c", "while :; do if [ -e /tmp/busy ]; then :; else sleep 0.1; fi; done"]
FOUR_ON_DEMAND = ["sh", "-c", f"for each in 1 2 3; do ({ON_DEMAND[-1]}) & done; {ON_DEMAND[-1]}"]
_HISTORY = 45.0
"""Seconds in which there are the 20 samples that a past takes, on a machine that is busy besides, too."""
LS, BE = {"koordinator.sh/qosClass": "LS"}, {"koordinator.sh/qosClass": "BE"}
_WRITE_BPS = 1 << 20
EXPORTS = """
import http.server, threading, time
lately = [0.0] * 5
def works():
    for at in range(10**9):
        began = time.monotonic()
        sum(range(400_000))
        lately[at % 5] = time.monotonic() - began
        time.sleep(0.02)
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"latency_seconds {sum(lately) / 5}\\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
threading.Thread(target=works, daemon=True).start()
http.server.HTTPServer(("", 9090), Answers).serve_forever()
"""
"""A service that works for longer than the scheduler lets anybody go on, again and again, and exports how long that takes."""
WRITTEN = ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.idle", "cpu.shares", "cpuset.cpus")
# Each of the nodes promises half of the machine, so that half is kept from its pods.
RULES = "cpu_suppress: {policy: cfsQuota, threshold_percent: 100}\n"


class Scene(NamedTuple):
    """A node with a service that is busy on demand, and two pods that give way: one requests nothing, the other says that it does."""

    pods: Pods
    service: Pod
    loop: Pod
    labelled: Pod
    start: Callable[..., subprocess.Popen[str]]
    restore: Callable[[], int]
    directory: Path
    cgroups: Path

    def said(self) -> str:
        return (self.directory / "said").read_text()

    def memory(self, used_percent: int) -> None:
        """Have /proc/meminfo say so."""
        text = f"MemTotal: {100 << 10} kB\nMemAvailable: {(100 - used_percent) << 10} kB\n"
        (self.directory / "proc/meminfo").write_text(text)

    def rules(self, text: str) -> None:
        (self.directory / "rules.yaml").write_text(text)

    def without_pressure(self) -> Path:
        """The control groups as on a machine that mounts version 1 alone: pressure is version 2's."""
        mount = self.directory / "cgroups"
        mount.mkdir()
        for each in self.cgroups.iterdir():
            if not (each / "cgroup.controllers").exists():
                (mount / each.name).symlink_to(each)
        return mount

    def read(self, pod: Pod, file: str) -> str:
        return (self.pods.cgroup(pod, "cpu") / file).read_text().strip()

    def limit(self) -> float:
        """The tier's, milli-cores; below 0 where it has none."""
        tier = self.pods.cgroup(self.loop, "cpu").parent
        quota, period = (int((tier / f"cpu.cfs_{each}_us").read_text()) for each in ("quota", "period"))
        return quota * 1000 / period

    def tree(self) -> dict[str, bytes]:
        """Every setting of these pods' groups and those above."""
        found: dict[str, bytes] = {}
        for controller in ("cpu", "cpuset"):
            for pod in (self.service, self.loop, self.labelled):
                group = self.pods.cgroup(pod, controller)
                for each in (group.parent, group, *(child for child in group.iterdir() if child.is_dir())):
                    paths = [each / file for file in WRITTEN if (each / file).exists()]
                    found |= {str(path): path.read_bytes() for path in paths}
        return found


@pytest.fixture
def scene(real_nodes: RealNodes, pods: Pods, tmp_path: Path) -> Iterator[Scene]:
    service = pods.run(
        manifest("service", ON_DEMAND, requests={"cpu": "400m"}, limits={"cpu": "800m"}, nodeName="real-1")
    )
    labelled = pods.run(manifest("labelled", requests={"cpu": "50m"}, labels=BE, nodeName="real-1"))
    loop = pods.run(manifest("loop", LOOP, nodeName="real-1"))
    if not (pods.cgroup(loop, "cpu") / "cpu.cfs_quota_us").exists():
        pytest.skip(f"{MACHINE_CANNOT} show version 1 of control groups")
    groups = real_nodes.cgroup("real-1", "cpu")
    # All nodes of this machine share its CPUs: what others use would be this node's system.
    proc = tmp_path / "proc"
    (proc / "sys/kernel/random").mkdir(parents=True)
    (proc / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n")
    (proc / "sys/kernel/random/boot_id").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    own = [f"--cgroup-root=/{groups.name}", f"--state={tmp_path / 'state'}", f"--proc={proc}", f"--rules={rules}"]
    command = [sys.executable, "-m", "neaptide", "agent", *own]
    kubeconfig = f"--kubeconfig={real_nodes.testbed.kubeconfig}"
    running: list[subprocess.Popen[str]] = []

    def start(*flags: str, cgroups: Path = groups.parents[1]) -> subprocess.Popen[str]:
        told = [*command, f"--cgroups={cgroups}", "--node=real-1", kubeconfig, *flags]
        with (tmp_path / "said").open("w") as said:
            running.append(subprocess.Popen(told, stderr=said, text=True))  # noqa: S603
        return running[-1]

    def restore() -> int:
        return subprocess.run([*command, f"--cgroups={groups.parents[1]}", "--restore"], check=False).returncode  # noqa: S603

    yield Scene(pods, service, loop, labelled, start, restore, tmp_path, groups.parents[1])
    for process in running:
        process.kill()
        process.wait()


def test_best_effort_gives_way_to_a_service_and_comes_back_and_nothing_of_it_is_left(scene: Scene) -> None:
    before = scene.tree()
    service = {path: text for path, text in before.items() if scene.service.uid in path}
    agent = scene.start()
    eventually(lambda: scene.limit() >= 450, "the limit of an idle node, half for the tier, holds")
    eventually(lambda: scene.read(scene.loop, "cpu.idle") == "1", "the loop is idle")
    assert scene.read(scene.labelled, "cpu.idle") == "1"
    scene.pods.execute("service", "touch", "/tmp/busy")  # noqa: S108 - of its own
    eventually(lambda: scene.limit() <= 400, "the service's use is taken from the limit")
    scene.pods.execute("service", "rm", "/tmp/busy")  # noqa: S108 - of its own
    eventually(lambda: scene.limit() >= 450, "it comes back")
    assert {path: text for path, text in scene.tree().items() if path in service} == service
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    assert "control groups version 1, driver cgroupfs" in scene.said()
    assert "refused" not in scene.said()
    assert scene.tree() == before


def test_a_throttled_service_bursts_and_its_limit_is_its_own_again_afterwards(scene: Scene) -> None:
    small = scene.pods.run(
        manifest("small", LOOP, requests={"cpu": "50m"}, limits={"cpu": "50m"}, labels=LS, nodeName="real-1")
    )
    pod = scene.pods.cgroup(small, "cpu")
    groups = (pod, *(each for each in pod.iterdir() if each.is_dir()))
    files = [each / file for each in groups for file in ("cpu.cfs_quota_us", "cpu.cfs_burst_us")]
    before = [file.read_bytes() for file in files]
    scene.rules("cpu_suppress: null\ngroup_priority: null\ncpu_burst: {policy: auto}\n")
    agent = scene.start()
    eventually(lambda: scene.read(small, "cpu.cfs_quota_us") == "15000", "three times its limit")
    assert scene.read(small, "cpu.cfs_burst_us") == "5000"
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    assert "refused" not in scene.said()
    assert [file.read_bytes() for file in files] == before


def test_killed_it_leaves_what_restore_undoes(scene: Scene) -> None:
    before = scene.tree()
    agent = scene.start()
    eventually(lambda: scene.limit() > 0 and scene.read(scene.loop, "cpu.idle") == "1", "the agent has written")
    agent.kill()
    agent.wait(WITHIN)
    assert scene.tree() != before
    assert scene.restore() == 0
    assert scene.tree() == before


def test_the_node_stays_kept_while_the_api_server_is_away(real_nodes: RealNodes, scene: Scene) -> None:
    agent = scene.start()
    eventually(lambda: scene.limit() >= 450, "the limit of an idle node holds")
    real_nodes.testbed.freeze("kube-apiserver")
    try:
        kept = scene.limit()
        for _ in range(3):  # rounds of the agent, counted by what each puts right
            (scene.pods.cgroup(scene.loop, "cpu") / "cpu.idle").write_text("0")
            eventually(lambda: scene.read(scene.loop, "cpu.idle") == "1", "the loop is idle again")
        assert agent.poll() is None
        assert scene.limit() == kept
    finally:
        real_nodes.testbed.thaw("kube-apiserver")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0


def test_what_a_kubelet_sets_again_when_it_starts_is_its_own_and_the_rest_stays_ours(
    real_nodes: RealNodes, scene: Scene
) -> None:
    before = scene.tree()
    agent = scene.start()
    eventually(lambda: scene.limit() >= 450 and scene.read(scene.loop, "cpu.idle") == "1", "the agent has written")
    shares = scene.pods.cgroup(scene.loop, "cpu").parent / "cpu.shares"
    of_the_kubelet = shares.read_text()
    real_nodes.kill("real-1")
    shares.write_text("77")
    real_nodes.restart("real-1")
    eventually(lambda: shares.read_text() == of_the_kubelet, "the kubelet has gone over its groups")
    for group, file, text in (("loop", "cpu.idle", "0"), ("labelled", "cpu.idle", "0")):
        (scene.pods.cgroup(getattr(scene, group), "cpu") / file).write_text(text)
    eventually(
        lambda: scene.read(scene.loop, "cpu.idle") == scene.read(scene.labelled, "cpu.idle") == "1", "idle again"
    )
    assert scene.limit() > 0
    assert shares.read_text() == of_the_kubelet, "a quality class's weight is the kubelet's"
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    # That of the other class follows the pods' requests a minute later, when the kubelet has seen its pods again.
    burstable = str(shares.parents[1] / "burstable/cpu.shares")
    assert {**scene.tree(), burstable: b""} == {**before, burstable: b""}


def test_pods_have_the_cpus_that_the_scheduler_wrote_down_and_the_others_what_is_left(scene: Scene) -> None:
    def bound(name: str, qos: str, cpus: str) -> Pod:
        made = manifest(name, labels={"koordinator.sh/qosClass": qos}, requests={"cpu": "50m"}, nodeName="real-1")
        made["metadata"]["annotations"] = {STATUS: json.dumps({"cpuset": cpus})}
        return scene.pods.run(made)

    own = bound("own", "LSE", "0")
    files = {
        str(path): path.read_bytes()
        for pod in (own, scene.service, scene.loop)
        for path in scene.pods.cgroup(pod, "cpuset").rglob("cpuset.cpus")
    }
    scene.rules("cpu_suppress: {policy: cfsQuota, threshold_percent: 100}\ngroup_priority: null\n")
    agent = scene.start()
    for pod, cpus in ((own, "0"), (scene.service, "1"), (scene.loop, "1"), (scene.labelled, "1")):
        eventually(lambda pod=pod, cpus=cpus: _may_run_on(scene, pod) == {cpus}, f"{pod.name} runs on {cpus} alone")  # type: ignore[misc]
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    assert "refused" not in scene.said()
    assert {path: Path(path).read_bytes() for path in files} == files


def test_a_disk_limit_slows_a_writer_on_the_nodes_disk_down_and_goes_with_the_agent(scene: Scene) -> None:
    writes = "while :; do dd if=/dev/zero of=/space/data bs=64k count=64 oflag=direct 2>/dev/null; done"
    volumes = [{"name": "space", "emptyDir": {}}]
    made = manifest("writes", ["sh", "-c", writes], nodeName="real-1", labels=BE, volumes=volumes)
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "space", "mountPath": "/space"}]
    writer = scene.pods.run(made)
    group = scene.pods.cgroup(writer, "blkio")
    if not (group / "blkio.throttle.write_bps_device").exists():
        pytest.skip(f"{MACHINE_CANNOT} limit disks")

    def written() -> int:
        text = (group / "blkio.throttle.io_service_bytes_recursive").read_text()
        return int(text.rpartition("Total ")[2] or 0)

    def a_second() -> float:
        before, began = written(), time.monotonic()
        eventually(lambda: written() > before and time.monotonic() - began > 1.0, "it writes")
        return (written() - before) / (time.monotonic() - began)

    eventually(lambda: written() > 0, "it writes")
    if a_second() < 2 * _WRITE_BPS:
        pytest.skip(f"{MACHINE_CANNOT} write as fast as the limit")
    scene.rules(f"cpu_suppress: null\ndisk: {{write_bps: {_WRITE_BPS}}}\n")
    agent = scene.start()
    eventually(
        lambda: any(each.read_text() for each in group.glob("*/blkio.throttle.write_bps_device")), "it is limited"
    )
    eventually(lambda: a_second() <= 1.5 * _WRITE_BPS, "it writes no more than it may")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    assert not any(each.read_text() for each in group.glob("*/blkio.throttle.write_bps_device"))


def _may_run_on(scene: Scene, pod: Pod) -> set[str]:
    """The CPUs that the kernel lets the processes of a pod run on."""
    found = set()
    for file in scene.pods.cgroup(pod, "cpuset").rglob("cgroup.procs"):
        for process in file.read_text().split():
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            found |= {line.split()[1] for line in lines if line.startswith("Cpus_allowed_list:")}
    return found


def test_a_dry_run_says_what_it_would_write(scene: Scene) -> None:
    before = scene.tree()
    agent = scene.start("--dry-run")
    eventually(lambda: "would write '1' to" in scene.said(), "it says so")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    assert scene.tree() == before


def test_a_node_low_on_memory_evicts_through_the_api_and_tells_the_controller(
    real_nodes: RealNodes, scene: Scene
) -> None:
    scene.rules("cpu_suppress: null\ngroup_priority: null\nmemory_evict: {threshold_percent: 70, lower_percent: 69}\n")
    scene.memory(60)
    scene.start()
    program, environment = real_nodes.testbed.kubectl_command()
    reasons = '--output=jsonpath={.status.conditions[?(@.type=="DisruptionTarget")].reason}{"\\n"}'
    command = [program, "--namespace", scene.pods.namespace, "get", "pods", "--watch", reasons]
    told = scene.directory / "told"
    with told.open("w") as output, subprocess.Popen(command, env=environment, stdout=output) as watching:  # noqa: S603
        eventually(
            lambda: told.read_text().count("\n") >= 3, "the pods are listed, so that no change of theirs is missed"
        )
        scene.memory(71)
        eventually(lambda: "evicted " in scene.said(), "somebody was evicted")
        eventually(lambda: REASON in told.read_text(), "the pod's condition said by whom")
        watching.kill()
    assert "/service" not in scene.said()
    assert scene.pods.kubectl("get", "pod", "service", "--output=jsonpath={.metadata.deletionTimestamp}") == ""


def _exporting(scene: Scene, objective: str) -> Pod:
    """A service whose mean latency shall be so long, and whose weight is so small that it is slow beside a busy pod on any machine."""
    (scene.directory / "out").mkdir()
    (scene.directory / "exports.py").write_text(EXPORTS)
    requests = {"requests": {"cpu": "10m"}}
    directory, node = str(scene.directory), "real-1"
    made = programs.pod("web", "exports", directory=directory, node=node, resources=requests, labels=LS)
    made["metadata"]["annotations"] = {SLO: _objective(objective)}
    return scene.pods.run(made)


def _blamed(scene: Scene, culprit: Pod) -> str:
    """What the agent says when the culprit, quiet for long enough, begins to disturb the service; it is held back by then."""
    time.sleep(_HISTORY)
    assert "SUPPRESS" not in scene.said()
    _comes_and_goes(scene, culprit)
    (line,) = [each for each in scene.said().splitlines() if "NOTHING -> SUPPRESS" in each]
    assert f"{scene.pods.namespace}/web" in line
    assert f"the CPU of {scene.pods.namespace}/culprit goes up and down with it" in line
    return line


def _comes_and_goes(scene: Scene, culprit: Pod) -> None:
    """It is busy for some seconds and then quiet for some, until it is held back: on a machine that is busy besides, once may be too little to be seen."""
    for _ in range(8):
        scene.pods.execute("culprit", "touch", "/tmp/busy")  # noqa: S108 - of its own
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if int(scene.read(culprit, "cpu.cfs_quota_us")) > 0:
                return
            time.sleep(0.05)
        scene.pods.execute("culprit", "rm", "/tmp/busy")  # noqa: S108 - of its own
        time.sleep(12)
    pytest.fail(f"it was never held back; the agent said:\n{scene.said()}")


def _objective(latency: str) -> str:
    return json.dumps({"latency": latency, "quantile": 0.5, "port": 9090, "metric": "latency_seconds"})


@pytest.mark.slow
def test_offline_work_shrinks_and_grows_with_the_latency_that_a_service_exports(scene: Scene) -> None:
    _exporting(scene, "10s")
    scene.rules("cpu_suppress: {policy: cfsQuota, threshold_percent: 100}\nslo_share: {grow_seconds: 1}\n")
    agent = scene.start()
    eventually(
        lambda: scene.limit() > 600,
        "beside a fast service offline work has more than half of the node, two pods together",
    )
    scene.pods.kubectl("annotate", "pod", "web", "--overwrite", f"{SLO}={_objective('10us')}")
    eventually(lambda: 0 < scene.limit() < 200, "a slow one does not")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    assert "refused" not in scene.said()


@pytest.mark.slow
def test_who_slows_a_service_down_is_found_by_the_latency_that_it_exports(scene: Scene) -> None:
    _exporting(scene, "10s")
    culprit = scene.pods.run(
        manifest("culprit", FOUR_ON_DEMAND, requests={"cpu": "400m"}, labels=BE, nodeName="real-1")
    )
    # A latency lags behind what makes it: less sureness is enough here than by default.
    quick = "{sample_seconds: 1, patience_seconds: 3, calm_seconds: 3, window: 20, last: 1, confidence: 0.2}"
    scene.rules(f"cpu_suppress: null\ngroup_priority: null\nslo_share: null\ninterference: {quick}\n")
    agent = scene.start(cgroups=scene.without_pressure())
    line = _blamed(scene, culprit)
    assert "latency, ms" in line
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0


@pytest.mark.slow
@pytest.mark.parametrize("pressure", [True, False], ids=["as pressure tells", "as run queues tell"])
def test_who_makes_a_service_wait_for_cpus_is_found_held_back_and_let_go_again(scene: Scene, *, pressure: bool) -> None:
    service = scene.pods.run(manifest("web", LOOP, requests={"cpu": "50m"}, labels=LS, nodeName="real-1"))
    culprit = scene.pods.run(
        manifest("culprit", FOUR_ON_DEMAND, requests={"cpu": "200m"}, labels=BE, nodeName="real-1")
    )
    groups = scene.pods.cgroup(service, "cpu")
    for process in {each for file in groups.rglob("cgroup.procs") for each in file.read_text().split()}:
        (scene.directory / "proc" / process).symlink_to(f"/proc/{process}")
    quick = "{sample_seconds: 1, patience_seconds: 3, calm_seconds: 4, window: 20, last: 1}"
    scene.rules(f"cpu_suppress: null\ngroup_priority: null\ninterference: {quick}\n")
    before = scene.read(culprit, "cpu.cfs_quota_us")
    agent = scene.start(cgroups=scene.cgroups if pressure else scene.without_pressure())
    line = _blamed(scene, culprit)
    assert "time waited for a CPU" in line
    scene.pods.execute("culprit", "rm", "/tmp/busy")  # noqa: S108 - of its own
    eventually(lambda: scene.read(culprit, "cpu.cfs_quota_us") == before, "it is let go")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN) == 0
    assert "refused" not in scene.said()
