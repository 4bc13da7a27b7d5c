"""Reclaimed resources end to end on a real kubelet: the agent measures, the controller offers, kube-scheduler places a batch pod in what a service does not use."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kube.live import eventually
from tests.testbed.asking import done

from neaptide.model.quantity import for_resource
from neaptide.testbed.realnodes.cluster import RealNodes
from neaptide.testbed.realnodes.pods import Pods, manifest

INTEROP = (
    Path(__file__).parents[2] / "charts/neaptide-interop-crds/files/koordinator/nodemetrics.slo.koordinator.sh.yaml"
)
BATCH_CPU, BATCH_MEMORY = "kubernetes.io/batch-cpu", "kubernetes.io/batch-memory"
OT_CPU, OT_MEMORY = "neaptide.io/ot-cpu", "neaptide.io/ot-memory"
OFFERED = (BATCH_CPU, BATCH_MEMORY, "kubernetes.io/mid-cpu", "kubernetes.io/mid-memory", OT_CPU, OT_MEMORY)
BATCH = {"koordinator.sh/qosClass": "BE", "koordinator.sh/priority-class": "koord-batch"}
FREE = {"koordinator.sh/qosClass": "BE", "koordinator.sh/priority-class": "koord-free"}
WITHIN = 60.0


@pytest.fixture
def colocating(real_nodes: RealNodes, tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """An agent on real-1 and a controller that enforces `reclaim`; what both say is in the directory."""
    testbed = real_nodes.testbed
    done(testbed, "apply", f"--filename={INTEROP}")
    done(testbed, "wait", "--for=condition=established", "crd/nodemetrics.slo.koordinator.sh", "--timeout=90s")
    groups = real_nodes.cgroup("real-1", "cpu")
    # All nodes of this machine share its CPUs and memory: what others use would be this node's system.
    proc = tmp_path / "proc"
    (proc / "sys/kernel/random").mkdir(parents=True)
    (proc / "sys/kernel/random/boot_id").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    (proc / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n")
    (proc / "meminfo").write_text("MemTotal: 2097152 kB\nMemAvailable: 1992294 kB\n")
    own = [f"--cgroups={groups.parents[1]}", f"--cgroup-root=/{groups.name}", f"--state={tmp_path / 'state'}"]
    kubeconfig = f"--kubeconfig={testbed.kubeconfig}"
    commands = {
        "agent": ["agent", "--node=real-1", *own, f"--proc={proc}", "--report-interval=2", kubeconfig],
        "controller": [
            "run",
            "--only=loop",
            "--policy=reclaim",
            "--enforce",
            "--set=reclaim.cpuReclaimThresholdPercent=90",
            "--set=reclaim.memoryReclaimThresholdPercent=90",
            "--set=reclaim.otEnable=true",
            "--set=reclaim.hostWatermarkPercent=90",
            "--set=reclaim.otColdStartSeconds=0",
            "--set=reclaim.trainingIntervalSeconds=2",
            "--interval=2",
            "--lease-namespace=default",
            kubeconfig,
        ],
    }
    running: dict[str, subprocess.Popen[str]] = {}
    for name, arguments in commands.items():
        with (tmp_path / name).open("w") as said:
            command = [sys.executable, "-m", "neaptide", *arguments]
            running[name] = subprocess.Popen(command, stdout=said, stderr=said, text=True)  # noqa: S603 - the project's own
    yield running
    for process in running.values():
        process.kill()
        process.wait()
    for node in ("real-1", "real-2"):  # the nodes are shared
        gone = {part: dict.fromkeys(OFFERED) for part in ("capacity", "allocatable")}
        done(
            testbed,
            "patch",
            "node",
            node,
            "--subresource=status",
            "--type=merge",
            f"--patch={json.dumps({'status': gone})}",
        )


@pytest.mark.slow
def test_a_batch_pod_runs_in_what_a_service_asked_for_and_does_not_use_and_training_in_what_that_leaves(
    real_nodes: RealNodes, pods: Pods, colocating: dict[str, subprocess.Popen[str]]
) -> None:
    testbed = real_nodes.testbed

    def node() -> dict[str, dict[str, str]]:
        status: dict[str, dict[str, str]] = json.loads(done(testbed, "get", "node", "real-1", "--output=json"))[
            "status"
        ]
        return status

    cpu = for_resource("cpu", node()["allocatable"]["cpu"])
    service = pods.run(manifest("service", requests={"cpu": f"{cpu * 7 // 10}m"}, nodeName="real-1"))
    assert service.node == "real-1"
    eventually(lambda: for_resource(BATCH_CPU, node()["allocatable"].get(BATCH_CPU, "0")) > cpu // 2, "it is offered")
    assert node()["capacity"][BATCH_CPU] == node()["allocatable"][BATCH_CPU]
    metric = json.loads(done(testbed, "get", "nodemetric", "real-1", "--output=json"))["status"]
    assert service.name in [each["name"] for each in metric["podsMetric"]]
    wanted = {BATCH_CPU: str(cpu // 2), BATCH_MEMORY: "64Mi"}
    job = pods.run(
        manifest("job", requests=wanted, limits=wanted, labels=BATCH, nodeSelector={"kubernetes.io/hostname": "real-1"})
    )
    assert job.node == "real-1"
    assert cpu * 7 // 10 + cpu // 2 > cpu  # it would not have fitted as cpu
    group = pods.cgroup(job, "memory")
    if (limit := group / "memory.limit_in_bytes").exists():
        eventually(lambda: limit.read_text().strip() == str(64 << 20), "it has no more memory than it asked for")
    eventually(lambda: for_resource(OT_CPU, node()["allocatable"].get(OT_CPU, "0")) > cpu // 10, "so is what it leaves")
    second = {OT_CPU: str(cpu // 10), OT_MEMORY: "16Mi"}
    training = manifest(
        "training", requests=second, limits=second, labels=FREE, nodeSelector={"kubernetes.io/hostname": "real-1"}
    )
    assert pods.run(training).qos == "BestEffort"
    too_much = {BATCH_CPU: str(10 * cpu), BATCH_MEMORY: "1Mi"}
    large = manifest(
        "large", requests=too_much, limits=too_much, labels=BATCH, nodeSelector={"kubernetes.io/hostname": "real-1"}
    )
    pods.kubectl("create", "--filename=-", content=json.dumps(large))
    why = '--output=jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}'
    eventually(
        lambda: f"Insufficient {BATCH_CPU}" in pods.kubectl("get", "pod", "large", why), "what is too much waits"
    )
    for process in colocating.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(WITHIN) for process in colocating.values()] == [0, 0]
