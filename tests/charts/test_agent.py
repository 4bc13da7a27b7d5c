"""The agent's DaemonSet: what the chart makes of it, and that its account may do what it does and not one verb more."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.agent.trees import Node, Shape
from tests.charts.helm import INTEROP, NEAPTIDE, Helm
from tests.charts.rights import assert_exact, granted, kubeconfig_of
from tests.kube.live import eventually, found
from tests.testbed.asking import done

from neaptide.agent.settings import settings
from neaptide.cli.agent import agent
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

ON = "--set=agent.enabled=true"
ACCOUNT = "neaptide-agent"


def test_no_agent_runs_until_it_is_asked_for(helm: Helm) -> None:
    assert not [kind for kind, _ in helm.rendered(NEAPTIDE) if kind == "DaemonSet"]


def test_the_agent_is_told_its_node_and_where_the_hosts_files_are_and_its_rules_are_accepted(helm: Helm) -> None:
    objects = helm.rendered(NEAPTIDE, ON, "--set=agent.cgroupRoot=/mine,agent.dryRun=true")
    pod = objects["DaemonSet", "tide-agent"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    flags = [each.partition("=")[0].removeprefix("--").replace("-", "_") for each in container["args"][1:]]
    assert set(flags) <= set(agent.__kwdefaults__ or ())
    assert "--cgroup-root=/mine" in container["args"]
    mounted = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
    named = [each.partition("=")[2] for each in container["args"] if "/host" in each]
    assert set(named) <= mounted.keys()
    assert [path for path, read_only in mounted.items() if not read_only] == ["/host/cgroup", "/var/lib/neaptide/agent"]
    assert settings(yaml.safe_load(objects["ConfigMap", "tide-agent"]["data"]["rules.yaml"])).cpu_suppress is not None


def test_it_is_root_without_a_capability_and_in_no_namespace_of_the_host(helm: Helm) -> None:
    pod = helm.rendered(NEAPTIDE, ON)["DaemonSet", "tide-agent"]["spec"]["template"]["spec"]
    assert not any(pod.get(each) for each in ("hostPID", "hostNetwork", "hostIPC"))
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_nothing_of_the_controllers_means_the_agents_pods(helm: Helm) -> None:
    objects = helm.rendered(NEAPTIDE, ON)
    labels = objects["DaemonSet", "tide-agent"]["spec"]["template"]["metadata"]["labels"]
    for (kind, name), each in objects.items():
        spec = each.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        wanted: dict[str, Any] = selector.get("matchLabels", selector)
        if kind != "DaemonSet" and wanted:
            assert not wanted.items() <= labels.items(), f"{kind} {name}"


@pytest.mark.slow
def test_the_account_may_do_what_the_agent_does_and_not_one_verb_more(
    own_control_plane: Testbed, helm_in: Callable[[Path], Helm], tmp_path: Path
) -> None:
    testbed, helm = own_control_plane, helm_in(own_control_plane.kubeconfig)
    values = ("--set=replicas=0,journal.persistence=false,admission.webhook=false", ON)
    helm.done("install", "neaptide", NEAPTIDE, "--namespace=tide", "--create-namespace", *values)
    helm.done("install", "interop", INTEROP, "--namespace=tide")
    add_nodes(testbed.site, [fake_node("tide-1", {}, {"cpu": "4", "memory": "8Gi", "pods": "9"})])
    container = {"name": "main", "image": "none"}
    spec = {"nodeName": "tide-1", "containers": [container], "tolerations": [{"operator": "Exists"}]}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lent"}, "spec": spec}
    done(testbed, "create", "--filename=-", content=json.dumps(made))
    uid = found(testbed, "pod", "lent")["metadata"]["uid"]
    node = Node(tmp_path / "node", Shape(2, systemd=False))
    group = node.pod(uid, told=False)
    node.memory(used=100, pods={group: 50})
    rules = tmp_path / "rules.yaml"
    rules.write_text("memory_evict: {threshold_percent: 70, lower_percent: 69}\n")
    place = node.place
    files = [f"--cgroups={place.cgroups}", f"--proc={place.proc}", f"--sysfs={place.sysfs}", f"--state={place.state}"]
    flags = [*files, f"--rules={rules}", "--node=tide-1", f"--kubeconfig={kubeconfig_of(testbed, tmp_path, ACCOUNT)}"]
    with subprocess.Popen([sys.executable, "-m", "neaptide", "agent", *flags], stderr=subprocess.PIPE) as process:  # noqa: S603 - the project's own
        try:
            eventually(
                lambda: "cpu-topology" in json.dumps(found(testbed, "node", "tide-1")["metadata"]["annotations"])
            )
            eventually(lambda: found(testbed, "nodemetric", "tide-1").get("status"))
            node.memory(used=900, pods={group: 800})
            eventually(lambda: not found(testbed, "pod", "lent"))
        finally:
            process.terminate()
            process.communicate()
    objects = helm.rendered(NEAPTIDE, ON, release="neaptide")
    may = granted({key: each for key, each in objects.items() if key == ("ClusterRole", ACCOUNT)})
    assert_exact(testbed, ACCOUNT, may)
