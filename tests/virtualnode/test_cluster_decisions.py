"""How a pod is translated for another cluster, and what that cluster can still take."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.virtualnode.cluster_cases import pod

from neaptide.model.objects import Node, Pod
from neaptide.testbed.nodes import fake_node
from neaptide.virtualnode.providers.cluster.room import USUAL, Remote, Shape, fitting, room
from neaptide.virtualnode.providers.cluster.states import state_of
from neaptide.virtualnode.providers.cluster.translate import (
    OWNER,
    SERVICES,
    UID,
    Needed,
    needed,
    refusal,
    remote_name,
    remote_object,
    remote_pod,
)
from neaptide.virtualnode.providers.cluster.use import Summary, stats_of
from neaptide.virtualnode.states import Ended, Running, Waiting

GIB = 2**30


def test_what_ties_a_pod_to_this_cluster_is_taken_off_and_what_it_is_stays() -> None:
    it = pod(
        nodeName="virtual-1",
        nodeSelector={"type": "virtual-kubelet"},
        affinity={"nodeAffinity": {}},
        priority=1000,
        priorityClassName="high",
        schedulerName="neaptide",
        serviceAccountName="robot",
        serviceAccount="robot",
        restartPolicy="Never",
        tolerations=[
            {"key": "virtual-kubelet.io/provider", "operator": "Exists"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
            {"key": "gpu", "operator": "Exists"},
            {"operator": "Exists"},
        ],
        volumes=[{"name": "kube-api-access-x1", "projected": {}}, {"name": "work", "emptyDir": {}}],
        containers=[
            {
                "name": "main",
                "image": "web",
                "volumeMounts": [
                    {"name": "kube-api-access-x1", "mountPath": "/t"},
                    {"name": "work", "mountPath": "/w"},
                ],
            }
        ],
        metadata={"labels": {"app": "it"}, "ownerReferences": [{"kind": "Job"}], "resourceVersion": "7"},
    )
    made = remote_pod(it, namespace="there", owner="me", service_accounts=True)
    assert made["metadata"]["name"] == "p-01234567"
    assert made["metadata"]["labels"] == {"app": "it", UID: it.uid, OWNER: "me"}
    assert set(made["metadata"]) == {"name", "namespace", "labels", "annotations"}
    spec = made["spec"]
    assert set(spec) == {"containers", "hostname", "restartPolicy", "serviceAccountName", "tolerations", "volumes"}
    assert [each["key"] for each in spec["tolerations"]] == ["gpu"]
    assert [each["name"] for each in spec["volumes"]] == ["work"]
    assert [each["name"] for each in spec["containers"][0]["volumeMounts"]] == ["work"]
    assert spec["hostname"] == "p"


def test_without_service_accounts_a_pod_has_no_token_of_the_other_cluster() -> None:
    made = remote_pod(pod(serviceAccountName="robot"), namespace="there", owner="me", service_accounts=False)
    assert made["spec"]["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in made["spec"]


def test_a_long_name_is_cut_and_still_tells_two_pods_apart() -> None:
    one, two = pod("x" * 253, "1" * 36), pod("x" * 253, "2" * 36)
    assert len(remote_name(one)) == 253
    assert remote_name(one) != remote_name(two)


def test_everything_that_a_pod_refers_to_is_brought_once_and_is_needed_where_any_reference_needs_it() -> None:
    container = {
        "name": "main",
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ],
        "envFrom": [{"secretRef": {"name": "s"}}],
    }
    volumes = [
        {"name": "v", "configMap": {"name": "c", "optional": True}},
        {
            "name": "w",
            "projected": {"sources": [{"secret": {"name": "t"}}, {"configMap": {"name": "kube-root-ca.crt"}}]},
        },
    ]
    it = pod(
        containers=[container],
        volumes=volumes,
        imagePullSecrets=[{"name": "pull"}],
        serviceAccountName="robot",
        metadata={"annotations": {SERVICES: "web, db"}},
    )
    assert set(needed(it, service_accounts=True)) == {
        Needed("Secret", "s"),
        Needed("Secret", "t"),
        Needed("Secret", "pull", optional=True),
        Needed("ConfigMap", "c"),
        Needed("ServiceAccount", "robot"),
        Needed("Service", "web"),
        Needed("Service", "db"),
    }


def test_a_service_is_translated_without_what_its_cluster_gave_it() -> None:
    here = {
        "metadata": {"name": "web", "uid": "u", "labels": {"a": "b"}},
        "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": 30000}]},
    }
    assert remote_object("Service", here, owner="me") == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "labels": {"a": "b", OWNER: "me"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        (
            {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
            "spec.volumes[0].persistentVolumeClaim",
        ),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath"),
    ],
)
def test_what_the_other_cluster_cannot_have_is_refused_by_its_name(spec: dict[str, Any], named: str) -> None:
    assert named in refusal(pod(**spec))
    assert refusal(pod()) == ""


def test_room_is_counted_by_the_shape_that_is_asked_for_and_not_by_the_sum() -> None:
    free = np.array([[3000, 8 * GIB, 100]] * 4, dtype=np.int64)
    assert room(free, [Shape(4000, GIB)]).pods == 0
    assert room(free, [Shape(2000, GIB)]) == (4, Shape(2000, GIB))
    assert room(free, [Shape(4000, GIB), Shape(1000, GIB)]) == (12, Shape(1000, GIB))
    assert room(free, []) == (12, USUAL)
    assert room(np.zeros((0, 3), dtype=np.int64), [USUAL]).cpu == 0


@given(
    nodes=st.lists(st.tuples(st.integers(-2000, 9000), st.integers(0, 32), st.integers(0, 9)), max_size=6),
    cpu=st.integers(0, 4000),
    memory=st.integers(0, 8),
)
def test_so_many_pods_of_a_shape_fit_as_are_counted_and_no_more(
    nodes: list[tuple[int, int, int]], cpu: int, memory: int
) -> None:
    free = np.array([(c, m * GIB, p) for c, m, p in nodes], dtype=np.int64).reshape(-1, 3)
    shape = Shape(cpu, memory * GIB)
    placed = 0
    for c, m, p in free.tolist():
        left = [c, m, p]
        while left[0] >= max(shape.cpu, 1) and left[1] >= max(shape.memory, 1) and left[2] >= 1:
            left = [left[0] - max(shape.cpu, 1), left[1] - max(shape.memory, 1), left[2] - 1]
            placed += 1
            if placed > 2000:
                return  # a pod that asks for nothing is bounded by the pods of a node alone
    assert fitting(free, shape) == placed


def node(name: str, cpu: str = "4", **more: Any) -> Node:
    made = fake_node(name, {}, {"cpu": cpu, "memory": "16Gi", "pods": "10"})
    return msgspec.convert({**made, **more}, Node)


def test_nodes_that_take_nobody_have_no_room_and_the_filters_have_the_last_word() -> None:
    remote = Remote()
    remote.set_node(node("free"))
    remote.set_node(node("cordoned", spec={"unschedulable": True}))
    remote.set_node(node("tainted", spec={"taints": [{"key": "gpu", "effect": "NoSchedule"}]}))
    assert remote.free().tolist() == [[4000, 16 * GIB, 10]]
    asking = {"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": {"containers": [{"name": "main"}]}}
    fits = msgspec.convert(asking, Pod)
    assert remote.obstacle(fits) == ""
    asking["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "5"}}  # type: ignore[index]
    assert "Insufficient cpu" in remote.obstacle(msgspec.convert(asking, Pod))
    assert not len(remote.snapshot.pods.indices())


def test_a_remote_status_is_told_as_it_is() -> None:
    began, ended = "2026-11-30T12:00:00Z", "2026-11-30T12:00:05Z"
    remote = {
        "metadata": {"creationTimestamp": began},
        "status": {
            "phase": "Running",
            "podIP": "10.1.2.3",
            "startTime": began,
            "containerStatuses": [
                {
                    "name": "main",
                    "restartCount": 2,
                    "ready": True,
                    "state": {"running": {"startedAt": ended}},
                    "lastState": {
                        "terminated": {"exitCode": 3, "startedAt": began, "finishedAt": ended, "reason": "Error"}
                    },
                }
            ],
        },
    }
    state = state_of(pod(), remote)
    (container,) = state.containers
    assert container.state == Running(1796040005.0, ready=True)
    assert container.last == Ended(3, 1796040005.0, 1796040000.0, "Error")
    assert (container.restarts, state.ip, state.failed) == (2, "10.1.2.3", False)


def test_a_pod_that_waits_for_a_node_there_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    state = state_of(pod(), {"metadata": {}, "status": {"phase": "Pending", "conditions": [condition]}})
    assert state.containers[0].state == Waiting("Unschedulable", "0/3 nodes")


def test_the_use_of_our_pods_is_what_the_kubelets_there_tell_and_others_pods_are_left_out() -> None:
    told = {
        "node": {"nodeName": "there", "cpu": {"usageCoreNanoSeconds": 9}},
        "pods": [
            {
                "podRef": {"name": "p-01234567", "namespace": "x", "uid": "remote-1"},
                "containers": [
                    {
                        "name": "main",
                        "startTime": "2026-01-01T00:00:00Z",
                        "cpu": {
                            "time": "2026-01-01T00:01:00Z",
                            "usageNanoCores": 5,
                            "usageCoreNanoSeconds": 2_500_000_000,
                        },
                        "memory": {"usageBytes": 300, "workingSetBytes": 200, "rssBytes": 100},
                    },
                    {"name": "young"},
                ],
            },
            {"podRef": {"name": "another", "namespace": "x", "uid": "remote-2"}, "containers": [{"name": "main"}]},
        ],
    }
    summary = msgspec.json.decode(msgspec.json.encode(told), type=Summary)
    it = pod()
    [found] = stats_of([summary, Summary()], {it.uid: (it, {"metadata": {"uid": "remote-1"}})}, now=7.0)
    assert (found.uid, found.namespace, found.name, found.at) == (it.uid, "here", "p", 7.0)
    used, young = found.containers
    assert (used.name, used.cpu_seconds, used.memory, used.working_set) == ("main", 2.5, 300, 200)
    assert used.started == 1_767_225_600.0
    assert (young.cpu_seconds, young.memory, young.working_set, young.started) == (None, None, None, None)
