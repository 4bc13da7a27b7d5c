"""Pods on real nodes as those who use them find them: they run, they can be asked, they end with grace, they outlive their kubelet."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import eventually

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes.cluster import RealNodes
from neaptide.testbed.realnodes.images import Image
from neaptide.testbed.realnodes.pods import Pod, Pods, manifest

TELLS = "trap 'echo told >> /out/said; sleep 1; echo done >> /out/said; exit 0' TERM; while :; do sleep 0.1; done"


def test_nodes_are_ready_and_promise_no_more_than_the_machine_has(real_nodes: RealNodes) -> None:
    nodes = _items(real_nodes, "nodes", "--selector=neaptide.io/real-node=true")
    assert [node["metadata"]["name"] for node in nodes] == ["real-1", "real-2"]
    assert all(_condition(node, "Ready") == "True" for node in nodes)
    for resource, of_machine in (("cpu", 1000 * (os.cpu_count() or 1)), ("memory", os.sysconf("SC_PHYS_PAGES") * 4)):
        promised = sum(_amount(node["status"]["allocatable"][resource]) for node in nodes)
        assert 0.95 * of_machine <= promised <= of_machine


def test_a_kubelet_calls_as_its_node_and_may_change_no_other(real_nodes: RealNodes) -> None:
    config = real_nodes["real-1"].root / "var/lib/kubelet/kubeconfig"
    annotate = [f"--kubeconfig={config}", "annotate", "--overwrite", "node"]
    assert real_nodes.testbed.kubectl([*annotate, "real-1", "a=b"]).returncode == 0
    assert "only its own Node" in real_nodes.testbed.kubectl([*annotate, "real-2", "a=b"]).stderr


def test_a_pod_runs_with_an_address_and_answers_a_pod_of_another_node(real_nodes: RealNodes, pods: Pods) -> None:
    server = pods.run(manifest("server", ["sh", "-c", "echo ready; exec httpd -f -p 8080 -h /etc"], nodeName="real-1"))
    pods.run(manifest("client", nodeName="real-2"))
    assert server.address.rpartition(".")[0] == real_nodes["real-1"].address.rpartition(".")[0]
    assert pods.logs("server") == "ready\n"
    assert pods.execute("client", "wget", "-qO-", f"http://{server.address}:8080/group") == "root:x:0:\n"


def test_a_job_completes(pods: Pods) -> None:
    template = manifest("job", ["sh", "-c", "sleep 0.2"], restartPolicy="Never")
    spec = {
        "completions": 3,
        "parallelism": 3,
        "template": {"metadata": template["metadata"], "spec": template["spec"]},
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": spec}
    pods.kubectl("create", "--filename=-", content=json.dumps(job))
    pods.kubectl("wait", "--for=condition=Complete", "job/job", "--timeout=180s")


def test_an_evicted_pod_is_told_and_has_the_time_to_finish(real_nodes: RealNodes, pods: Pods) -> None:
    folder = f"/var/log/{pods.namespace}"
    pod = manifest("polite", ["sh", "-c", TELLS], nodeName="real-1", terminationGracePeriodSeconds=30)
    pod["spec"]["volumes"] = [{"name": "out", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "out", "mountPath": "/out"}]
    pods.run(pod)
    _evict(pods, "polite")
    pods.kubectl("wait", "--for=delete", "pod/polite", "--timeout=180s")
    assert (real_nodes["real-1"].root / folder.lstrip("/") / "said").read_text() == "told\ndone\n"


def test_a_drained_node_is_left_by_its_pods_and_their_budget_holds(real_nodes: RealNodes, pods: Pods) -> None:
    ready = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    template = manifest("web", labels={"app": "web"})
    template["spec"]["containers"][0]["readinessProbe"] = ready
    labels = {"matchLabels": {"app": "web"}}
    own = {key: template[key] for key in ("metadata", "spec")}
    deployment = {"replicas": 2, "selector": labels, "template": {**own, "metadata": {"labels": {"app": "web"}}}}
    budget = {"minAvailable": 1, "selector": labels}
    objects = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": deployment},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": budget},
    ]
    try:
        pods.kubectl("cordon", "real-2")
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        pods.kubectl("create", "--filename=-", content=json.dumps(listed))
        pods.kubectl("rollout", "status", "deployment/web", "--timeout=180s")
        pods.kubectl("wait", "pdb/web", "--for=jsonpath={.status.disruptionsAllowed}=1", "--timeout=180s")
        pods.kubectl("uncordon", "real-2")
        mine = f"--pod-selector=app=web,pod-template-hash={_hash(pods)}"
        pods.kubectl("drain", "real-1", "--ignore-daemonsets", "--timeout=180s", "--delete-emptydir-data", mine)
        pods.kubectl("rollout", "status", "deployment/web", "--timeout=180s")
        found = json.loads(pods.kubectl("get", "pods", "--selector=app=web", "--output=json"))["items"]
        assert {pod["spec"]["nodeName"] for pod in found} == {"real-2"}
        assert _refusals(real_nodes, pods.namespace)
    finally:
        pods.kubectl("uncordon", "real-1", "real-2")


def test_pods_go_on_while_their_kubelet_is_gone_and_it_finds_them_again(real_nodes: RealNodes, pods: Pods) -> None:
    pod = pods.run(manifest("lasting", nodeName="real-1"))
    before, container = _processes(pods.cgroup(pod, "cpu")), _container(pods, "lasting")
    real_nodes.kill("real-1")
    assert _states(real_nodes)["real-1/kubelet"] == "ended"
    assert _processes(pods.cgroup(pod, "cpu")) == before
    real_nodes.restart("real-1")
    assert _states(real_nodes)["real-1/kubelet"] == "running"
    pods.run(manifest("later", nodeName="real-1"))
    assert _processes(pods.cgroup(pod, "cpu")) == before
    assert _container(pods, "lasting") == container


def test_pods_go_on_when_containerd_is_killed_and_started_again(real_nodes: RealNodes, pods: Pods) -> None:
    pod = pods.run(manifest("lasting", nodeName="real-2"))
    before = _processes(pods.cgroup(pod, "cpu"))
    real_nodes.kill("real-2", "containerd")
    real_nodes.restart("real-2", "containerd")
    eventually(lambda: _answers(pods, "lasting"))
    assert _processes(pods.cgroup(pod, "cpu")) == before


def test_a_pod_that_is_resized_has_its_new_limit_without_a_restart(pods: Pods) -> None:
    amounts = {"cpu": "100m", "memory": "32Mi"}
    pod = pods.run(manifest("elastic", nodeName="real-1", requests=amounts, limits={"cpu": "200m", "memory": "64Mi"}))
    assert (_quota(pods, pod), pod.qos) == (0.2, "Burstable")
    container = _container(pods, "elastic")
    patch = {"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "350m"}}}]}}
    pods.kubectl("patch", "pod", "elastic", "--subresource=resize", f"--patch={json.dumps(patch)}")
    eventually(lambda: _quota(pods, pod) == 0.35)
    assert _container(pods, "elastic") == container


@pytest.mark.parametrize(
    ("amounts", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "10m"}}, "Burstable"),
        ({"limits": {"cpu": "50m", "memory": "32Mi"}}, "Guaranteed"),
    ],
    ids=["nothing asked for", "a request", "limits alone"],
)
def test_a_pods_group_is_below_that_of_its_quality_class(pods: Pods, amounts: dict[str, Any], qos: str) -> None:
    pod = pods.run(manifest("classed", **amounts))
    assert pod.qos == qos
    group = pods.cgroup(pod, "memory")
    assert _processes(group)
    assert {_group_of(pid, "memory") for pid in _processes(group)} == {group}


def test_an_image_of_the_machines_own_files_brings_their_libraries(real_nodes: RealNodes, pods: Pods) -> None:
    perl = Image(name="testbed.neaptide.io/perl:1", host=["/usr/bin/perl"], entrypoint=["/usr/bin/perl"])
    real_nodes.load(perl)
    pods.run(manifest("perl", ["perl", "-e", "$| = 1; print 6 * 7, qq(\\n); sleep 1000"], image=perl.name))
    eventually(lambda: pods.logs("perl") == "42\n")


@pytest.mark.slow
def test_a_node_whose_kubelet_is_gone_turns_not_ready_and_is_tainted(real_nodes: RealNodes) -> None:
    real_nodes.kill("real-2")
    try:
        real_nodes.testbed.kubectl(
            ["wait", "node/real-2", "--for=condition=Ready=Unknown", "--timeout=100s"], timeout=120
        )
        node = next(each for each in _items(real_nodes, "nodes") if each["metadata"]["name"] == "real-2")
        assert _condition(node, "Ready") == "Unknown"
        keys = {taint["key"] for taint in node["spec"]["taints"]}
        assert "node.kubernetes.io/unreachable" in keys
    finally:
        real_nodes.restart("real-2")
    real_nodes.testbed.kubectl(["wait", "node/real-2", "--for=condition=Ready", "--timeout=180s"], timeout=80)
    assert _condition(_items(real_nodes, "nodes")[1], "Ready") == "True"


def _items(nodes: RealNodes, *arguments: str) -> list[dict[str, Any]]:
    found = nodes.testbed.kubectl(["get", *arguments, "--output=json"])
    assert found.returncode == 0, found.stderr
    items: list[dict[str, Any]] = json.loads(found.stdout)["items"]
    return items


def _condition(node: dict[str, Any], kind: str) -> str:
    return next(str(each["status"]) for each in node["status"]["conditions"] if each["type"] == kind)


def _amount(quantity: str) -> float:
    """Milli-CPU, or KiB."""
    if quantity.endswith("Ki"):
        return float(quantity[:-2])
    return float(quantity[:-1]) if quantity.endswith("m") else 1000 * float(quantity)


def _evict(pods: Pods, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": pods.namespace}}
    path = f"/api/v1/namespaces/{pods.namespace}/pods/{name}/eviction"
    pods.kubectl("create", f"--raw={path}", "--filename=-", content=json.dumps(eviction))


def _refusals(nodes: RealNodes, namespace: str) -> list[dict[str, Any]]:
    entries = (json.loads(line) for line in nodes.testbed.log("audit").read_text().splitlines())
    of_evictions = (each for each in entries if each.get("objectRef", {}).get("subresource") == "eviction")
    return [
        each
        for each in of_evictions
        if each["objectRef"]["namespace"] == namespace and each["responseStatus"]["code"] == 429
    ]


def _hash(pods: Pods) -> str:
    return pods.kubectl(
        "get", "pods", "--selector=app=web", "--output=jsonpath={.items[0].metadata.labels.pod-template-hash}"
    )


def _container(pods: Pods, name: str) -> tuple[str, int]:
    status = json.loads(pods.kubectl("get", "pod", name, "--output=json"))["status"]["containerStatuses"][0]
    return status["containerID"], status["restartCount"]


def _processes(group: Path) -> set[int]:
    return {int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split()}


def _group_of(pid: int, controller: str) -> Path:
    """The pod's group in which a process is, by what the kernel says of the process."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == controller or (not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists()):
            tree = Path("/sys/fs/cgroup") / controllers
            return (tree / path.lstrip("/")).parent
    raise AssertionError(f"process {pid} has no group for {controller}")


def _quota(pods: Pods, pod: Pod) -> float:
    """In CPUs."""
    group = pods.cgroup(pod, "cpu")
    if (group / "cpu.max").exists():
        quota, period = (group / "cpu.max").read_text().split()
        return int(quota) / int(period)
    return int((group / "cpu.cfs_quota_us").read_text()) / int((group / "cpu.cfs_period_us").read_text())


def _states(nodes: RealNodes) -> dict[str, str]:
    return {each.component: each.state for each in nodes.status()}


def _answers(pods: Pods, name: str) -> bool:
    """Whether a command runs in a pod; a runtime that was just started refuses connections for a moment."""
    with suppress(TestbedError):
        return pods.execute(name, "echo", "here") == "here\n"
    return False
