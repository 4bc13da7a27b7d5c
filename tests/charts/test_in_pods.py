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
RULES = {"cpu_suppress": {"policy": "cfsQuota", "threshold_percent": 100}, "reclaimed_limits": {}}
PLACE = "--namespace=tide"
IMAGE = [f"image.repository={product.NAME}", f"image.tag={product.TAG}"]
NO_WEBHOOK = ["journal.persistence=false", "admission.webhook=false"]
"""The API server of the tests reaches no Service, and no volume is made for the journal."""
LEND = {
    "apiVersion": "neaptide.io/v1alpha1",
    "kind": "Policy",
    "metadata": {"name": "lend"},
    "spec": {"policy": "reclaim", "mode": "Enforce"},
}


@pytest.fixture(scope="module")
def cluster(real_nodes: RealNodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Nodes that have the product's image, and an API server that their pods reach."""
    real_nodes.load(product.image(tmp_path_factory.mktemp("image")))
    with api_service.served(real_nodes.testbed):
        yield real_nodes.testbed


@pytest.fixture
def helm(helm_in: Callable[[Path], Helm], cluster: Testbed) -> Iterator[Helm]:
    """What was installed goes when the test ends; kinds stay, so that all install into one namespace."""
    made = helm_in(cluster.kubeconfig)
    made.done("upgrade", "--install", "interop", INTEROP, "--namespace=kube-system")
    yield made
    made.ask("uninstall", "neaptide", PLACE)


def install(helm: Helm, directory: Path, *values: str, **more: Any) -> None:
    (directory / "values.yaml").write_text(yaml.safe_dump(more))
    chosen = [f"--set={each}" for each in (*IMAGE, *values)]
    helm.done(
        "install", "neaptide", NEAPTIDE, PLACE, "--create-namespace", f"--values={directory}/values.yaml", *chosen
    )


def agent_of(nodes: RealNodes) -> dict[str, Any]:
    """One on the first node: nodes of one machine have groups of their own."""
    group = f"/{nodes.cgroup('real-1', 'cpu').name}"
    node = {"kubernetes.io/hostname": "real-1"}
    return {"enabled": True, "rules": RULES, "cgroupRoot": group, "nodeSelector": node}


def rolled_out(cluster: Testbed, what: str) -> None:
    done(cluster, "rollout", "status", what, PLACE, "--timeout=100s")


def restarts(cluster: Testbed) -> list[int]:
    """Of each container of the release."""
    pods = json.loads(done(cluster, "get", "pods", PLACE, "--output=json"))["items"]
    return [each["restartCount"] for pod in pods for each in pod["status"]["containerStatuses"]]


def leader(cluster: Testbed) -> str:
    """The pod that leads; empty where none does."""
    holder: str = found(cluster, "lease", "neaptide", "tide")["spec"].get("holderIdentity", "")
    return holder.partition("_")[0]


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
    agent = agent_of(real_nodes)
    install(helm, tmp_path, *NO_WEBHOOK, "replicas=0", agent=agent)
    rolled_out(cluster, "daemonset/neaptide-agent")
    eventually(lambda: settings(pods, "loop") != before, "the loop is held back")
    idle = pods.cgroup(loop, "cpu") / "cpu.idle"
    eventually(lambda: idle.read_text() == "1\n", "it gives way to all others")
    metric: dict[str, Any] = {}

    def reported() -> bool:
        metric.update(found(cluster, "nodemetric", "real-1"))
        return "loop" in json.dumps(metric.get("status", {}))

    eventually(reported, "the loop's use is told")
    assert "cpu-topology" in json.dumps(found(cluster, "node", "real-1")["metadata"]["annotations"])
    assert restarts(cluster) == [0]
    helm.done("uninstall", "neaptide", PLACE, "--wait", "--timeout=60s")
    eventually(lambda: settings(pods, "loop") == before, "all is as before")


@pytest.mark.slow
def test_the_controller_in_its_pods_lends_what_the_agent_in_its_own_has_measured(
    real_nodes: RealNodes, cluster: Testbed, helm: Helm, tmp_path: Path
) -> None:
    controller = {"intervalSeconds": 5}
    install(helm, tmp_path, *NO_WEBHOOK, "replicas=2", agent=agent_of(real_nodes), controller=controller)
    rolled_out(cluster, "daemonset/neaptide-agent")
    rolled_out(cluster, "statefulset/neaptide")
    done(cluster, "apply", "--filename=-", content=json.dumps(LEND))

    def lent() -> int:
        status = found(cluster, "node", "real-1")["status"]
        return int(status["allocatable"].get("kubernetes.io/batch-cpu", 0))

    eventually(lambda: lent() > 0, "CPU of the node that the agent looks at is lent")
    assert restarts(cluster) == [0, 0, 0]
    first = leader(cluster)
    assert "batch-cpu" in done(cluster, "exec", first, PLACE, "--", "neaptide", "explain", "node", "real-1")
    done(cluster, "delete", "pod", first, PLACE, "--wait=false")
    eventually(lambda: leader(cluster) not in ("", first), "the other replica leads")
    done(cluster, "delete", "policy", "lend")
    eventually(lambda: lent() == 0, "what was lent is taken back with the policy")
