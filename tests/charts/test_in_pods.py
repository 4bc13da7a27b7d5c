"""The charts installed by Helm on real kubelets: the product runs in its pods, as the user and with the mounts and rights that the charts give it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts import api_service, product
from tests.charts.helm import INTEROP, NEAPTIDE, Helm
from tests.kube.live import eventually, found
from tests.skips import MACHINE_CANNOT
from tests.testbed.asking import done

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.cluster import RealNodes
from neaptide.testbed.realnodes.pods import Pods, manifest

BUSY = ["sh", "-c", "while :; do :; done"]
RULES = {"cpu_suppress": {"policy": "cfsQuota", "threshold_percent": 50}, "reclaimed_limits": {}}
IMAGE = [f"image.repository={product.NAME}", f"image.tag={product.TAG}"]
NO_CONTROLLER = ["replicas=0", "journal.persistence=false", "admission.webhook=false"]


@pytest.fixture(scope="module")
def cluster(real_nodes: RealNodes) -> Iterator[Testbed]:
    """Nodes that have the product's image, and an API server that their pods reach."""
    real_nodes.load(product.image())
    with api_service.served(real_nodes.testbed):
        yield real_nodes.testbed


@pytest.fixture
def helm(helm_in: Callable[[Path], Helm], cluster: Testbed, pods: Pods) -> Iterator[Helm]:
    """In the tests' namespace; what was installed goes when the test ends."""
    made = helm_in(cluster.kubeconfig)
    made.done("upgrade", "--install", "interop", INTEROP, "--namespace=kube-system")
    yield made
    made.ask("uninstall", "neaptide", f"--namespace={pods.namespace}")


def install(helm: Helm, pods: Pods, directory: Path, *values: str, **more: Any) -> None:
    (directory / "values.yaml").write_text(yaml.safe_dump(more))
    chosen = [f"--set={each}" for each in (*IMAGE, *values)]
    helm.done(
        "install", "neaptide", NEAPTIDE, f"--namespace={pods.namespace}", f"--values={directory}/values.yaml", *chosen
    )


def settings(pods: Pods, *names: str) -> dict[str, str]:
    """What the files of these pods' groups, and of the tier above, say."""
    files = [pods.cgroup(pods.ready(name), "cpu") / file for name in names for file in ("cpu.idle", "cpu.shares")]
    tiers = {file.parent.parent / "cpu.cfs_quota_us" for file in files}
    return {str(file): file.read_text() for file in (*files, *tiers)}


@pytest.mark.slow
def test_the_agent_in_its_pod_keeps_the_node_reports_and_gives_everything_back_when_it_is_uninstalled(
    real_nodes: RealNodes, cluster: Testbed, helm: Helm, pods: Pods, tmp_path: Path
) -> None:
    loop = pods.run(manifest("loop", BUSY, nodeName="real-1"))
    if not (pods.cgroup(loop, "cpu") / "cpu.cfs_quota_us").exists():
        pytest.skip(f"{MACHINE_CANNOT} show version 1 of control groups")
    before = settings(pods, "loop")
    agent = {
        "enabled": True,
        "rules": RULES,
        "cgroupRoot": f"/{real_nodes.cgroup('real-1', 'cpu').name}",
        "nodeSelector": {"kubernetes.io/hostname": "real-1"},
    }
    install(helm, pods, tmp_path, *NO_CONTROLLER, agent=agent)
    done(cluster, "rollout", "status", "daemonset/neaptide-agent", f"--namespace={pods.namespace}", "--timeout=60s")
    eventually(lambda: settings(pods, "loop") != before, "the loop is held back")
    idle = pods.cgroup(loop, "cpu") / "cpu.idle"
    eventually(lambda: idle.read_text() == "1\n", "it gives way to all others")
    metric: dict[str, Any] = {}

    def reported() -> bool:
        metric.update(found(cluster, "nodemetric", "real-1"))
        return "loop" in json.dumps(metric.get("status", {}))

    eventually(reported, "the loop's use is told")
    assert "cpu-topology" in json.dumps(found(cluster, "node", "real-1")["metadata"]["annotations"])
    (pod,) = json.loads(
        pods.kubectl("get", "pods", "--selector=app.kubernetes.io/name=neaptide-agent", "--output=json")
    )["items"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    helm.done("uninstall", "neaptide", f"--namespace={pods.namespace}", "--wait", "--timeout=60s")
    eventually(lambda: settings(pods, "loop") == before, "all is as before")
