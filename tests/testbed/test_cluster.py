"""A control plane as those who use it find it: pods run, rules hold, data lasts, faults are faults, and nothing stays behind."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kube.live import eventually
from tests.testbed.asking import deployment, done, items, refused, state_of

from neaptide.testbed import cluster, errors, ports
from neaptide.testbed.components import COMPONENTS

ACCOUNT = "--as=system:serviceaccount:default:default"


def test_the_pods_of_a_deployment_are_bound_to_nodes_and_run(testbed: cluster.Testbed, namespace: str) -> None:
    done(testbed, "apply", "-n", namespace, "-f", "-", content=deployment("web", 30))
    done(testbed, "rollout", "status", "-n", namespace, "deployment/web", "--timeout=180s")
    nodes = {node["metadata"]["name"] for node in items(testbed, "nodes")}
    pods = items(testbed, "pods", "-n", namespace)
    assert len(pods) == 30
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert {pod["spec"]["nodeName"] for pod in pods} <= nodes


def test_nodes_carry_type_zone_capacity_type_and_price(testbed: cluster.Testbed) -> None:
    wanted = {
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "karpenter.sh/capacity-type",
        "neaptide.io/price-per-hour",
    }
    nodes = items(testbed, "nodes")
    assert len(nodes) == 20
    assert all(wanted <= node["metadata"]["labels"].keys() for node in nodes)
    assert all(node["status"]["allocatable"]["cpu"].endswith("m") for node in nodes)


def test_plan_reads_all_of_what_kubectl_prints(testbed: cluster.Testbed, namespace: str, tmp_path: Path) -> None:
    done(testbed, "apply", "-n", namespace, "-f", "-", content=deployment("web", 5))
    done(testbed, "rollout", "status", "-n", namespace, "deployment/web", "--timeout=180s")
    dump = tmp_path / "dump.json"
    dump.write_text(done(testbed, "get", "nodes,pods,deploy,rs,sts,ds,jobs,pdb", "-A", "--output=json"))
    command = [sys.executable, "-m", "neaptide", "plan", str(dump), "--output", "json"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["left_out"] == []


def test_an_account_without_a_role_may_read_nothing(testbed: cluster.Testbed) -> None:
    assert "forbidden" in refused(testbed, "get", "nodes", ACCOUNT)


def test_a_kubelet_sees_its_own_node_alone_and_may_not_give_it_labels_of_trust(testbed: cluster.Testbed) -> None:
    kubelet = ("--as=system:node:node-00001", "--as-group=system:nodes")
    done(testbed, "annotate", "node", "node-00001", "a=b", *kubelet)
    assert "only its own Node" in refused(testbed, "annotate", "node", "node-00002", "a=b", *kubelet)
    trusted = "node-restriction.kubernetes.io/trusted=yes"
    assert "not allowed to modify labels" in refused(testbed, "label", "node", "node-00001", trusted, *kubelet)


def test_the_audit_log_says_who_did_what(testbed: cluster.Testbed, namespace: str) -> None:
    done(testbed, "create", "configmap", "seen", "-n", namespace)
    entries = [json.loads(line) for line in testbed.log("audit").read_text().splitlines()]
    found = [each for each in entries if each.get("objectRef", {}).get("name") == "seen" and each["verb"] == "create"]
    assert [(each["user"]["username"], each["responseStatus"]["code"]) for each in found] == [("admin", 201)]


def test_keys_and_kubeconfigs_are_the_owners_alone(testbed: cluster.Testbed) -> None:
    secret = [*testbed.directory.glob("*.kubeconfig"), *testbed.directory.glob("pki/*.key")]
    assert len(secret) > len(COMPONENTS)
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret} == {0o600}
    assert stat.S_IMODE((testbed.directory / "pki").stat().st_mode) == 0o700


def test_what_was_stored_outlives_an_api_server_that_is_killed(testbed: cluster.Testbed, namespace: str) -> None:
    done(testbed, "create", "configmap", "kept", "-n", namespace)
    testbed.kill("kube-apiserver")
    assert state_of(testbed, "kube-apiserver") == "ended"
    assert "refused" in refused(testbed, "get", "configmap", "kept", "-n", namespace)
    testbed.restart("kube-apiserver")
    done(testbed, "get", "configmap", "kept", "-n", namespace)


def test_what_was_stored_outlives_an_etcd_that_is_killed(testbed: cluster.Testbed, namespace: str) -> None:
    done(testbed, "create", "configmap", "kept", "-n", namespace)
    testbed.kill("etcd")
    testbed.restart("etcd")
    done(testbed, "wait", "--for=create", "configmap/kept", "-n", namespace, "--timeout=180s")


def test_versions_from_before_a_compaction_are_expired(testbed: cluster.Testbed, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    version = json.loads(done(testbed, "get", "--raw", path))["metadata"]["resourceVersion"]
    done(testbed, "create", "configmap", "later", "-n", namespace)
    assert testbed.compact() > int(version)
    old = f"resourceVersion={version}&resourceVersionMatch=Exact"
    assert "too old" in refused(testbed, "get", "--raw", f"{path}?{old}")
    event = json.loads(done(testbed, "get", "--raw", f"{path}?watch=1&timeoutSeconds=5&resourceVersion={version}"))
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    done(testbed, "get", "configmap", "later", "-n", namespace)


def test_a_control_plane_on_a_leash_ends_when_its_holder_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as holder:  # noqa: S607 - of the system
        found = cluster.Testbed(tmp_path / "leashed", leash=holder.pid)
        found.up()
        assert {each.state for each in found.status()} == {"running"}
        holder.kill()
    eventually(lambda: {each.state for each in found.status()} == {"ended"})
    found.down(purge=True)


def test_requests_time_out_while_etcd_is_frozen_and_succeed_once_it_thaws(
    testbed: cluster.Testbed, namespace: str
) -> None:
    testbed.freeze("etcd")
    assert state_of(testbed, "etcd") == "frozen"
    complaint = refused(testbed, "create", "configmap", "late", "-n", namespace, "--request-timeout=2s")
    assert any(words in complaint.lower() for words in ("timeout", "deadline", "in the time allotted"))
    testbed.thaw("etcd")
    done(testbed, "create", "configmap", "later", "-n", namespace)


def test_up_starts_what_was_killed_and_thaws_what_was_frozen(testbed: cluster.Testbed) -> None:
    before = {each.component: each.pid for each in testbed.status()}
    testbed.kill("kube-scheduler")
    testbed.freeze("kwok")
    testbed.up()
    after = {each.component: each.pid for each in testbed.status()}
    assert {each.state for each in testbed.status()} == {"running"}
    assert {name for name in before if before[name] != after[name]} == {"kube-scheduler"}


def test_a_second_control_plane_knows_nothing_of_the_first_and_down_leaves_nothing_of_it_but_its_data(
    testbed: cluster.Testbed, own_control_plane: cluster.Testbed
) -> None:
    done(own_control_plane, "create", "namespace", "only-here")
    refused(testbed, "get", "namespace", "only-here")
    first, second = set(testbed.site.ports.values()), set(own_control_plane.site.ports.values())
    assert not first & second
    processes = [each.pid for each in own_control_plane.status()]

    own_control_plane.down()
    assert {each.state for each in own_control_plane.status()} == {"ended"}
    assert not any(_lives(pid) for pid in processes if pid is not None)
    assert all(ports.is_free(port) for port in second)
    assert {each.state for each in testbed.status()} == {"running"}

    own_control_plane.up()
    done(own_control_plane, "get", "namespace", "only-here")
    assert set(own_control_plane.site.ports.values()) == second


def test_a_testbed_that_never_was_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(errors.TestbedError, match=r"no testbed in .*; `neaptide testbed up` makes one"):
        cluster.Testbed(tmp_path / "nothing").down()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
