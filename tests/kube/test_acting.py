"""Actions on a real control plane: each looked at again, done once, told apart from what must not be done."""

import asyncio
from typing import Any

import pytest
from tests.kube.live import (
    WHY,
    acted,
    budget,
    eventually,
    eviction,
    found,
    job,
    make,
    outcomes,
    pod,
    speaking,
)
from tests.testbed.asking import deployment, done

from neaptide.kube.acting.carrying import Api
from neaptide.kube.acting.registry import METHODS
from neaptide.kube.actuator import Actuator, Patience
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import NODES
from neaptide.model.actions import (
    AnyAction,
    Cordon,
    Evict,
    Precondition,
    Ref,
    Resume,
    Scale,
    SetNodeResources,
    Suspend,
    Taint,
    Tolerate,
    Uncordon,
    Untaint,
)
from neaptide.model.workloads import SUSPENDED_REPLICAS
from neaptide.testbed.cluster import Testbed

BATCH = "kubernetes.io/batch-cpu"


def test_every_kind_of_action_can_be_carried_out() -> None:
    assert set(METHODS) == set(AnyAction.__args__)


def test_an_eviction_takes_the_pod_that_was_meant(
    control_plane: Testbed, namespace: str, nodes: tuple[str, ...]
) -> None:
    make(control_plane, pod("web", node=nodes[0]), namespace=namespace)
    action = eviction(control_plane, "web", namespace, nodes[0])
    assert acted(control_plane, action) == [("Done", "Test")]
    eventually(lambda: not found(control_plane, "pod", "web", namespace))
    assert acted(control_plane, action) == [("Done", "NotFound")]


def test_an_eviction_of_a_pod_that_is_going_does_nothing(
    control_plane: Testbed, namespace: str, nodes: tuple[str, ...]
) -> None:
    make(control_plane, pod("web", node=nodes[0], finalizers=["neaptide.io/test"]), namespace=namespace)
    action = eviction(control_plane, "web", namespace, nodes[0])
    assert acted(control_plane, action, action) in (
        [("Done", "Test"), ("Refused", "Terminating")],
        [("Refused", "Terminating"), ("Done", "Test")],
        [("Done", "Test"), ("Done", "Test")],  # both asked before either was answered: the API server did it once
    )
    assert acted(control_plane, action) == [("Refused", "Terminating")]
    done(control_plane, "patch", "pod", "web", "-n", namespace, "--type=merge", '-p={"metadata":{"finalizers":null}}')


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an annotation that came later": ({"annotations": {"karpenter.sh/do-not-disrupt": "true"}}, {}, "DoNotDisrupt"),
    "not safe to evict": (
        {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
        {},
        "NotSafeToEvict",
    ),
    "another node": ({}, {"node": "elsewhere"}, "Moved"),
    "another pod of the name": ({}, {"uid": "another"}, "Conflict"),
    "a precondition that no longer holds": (
        {},
        {"preconditions": (Precondition("metadata.resourceVersion", "1"),)},
        "Conflict",
    ),
}


@pytest.mark.parametrize(("meta", "changes", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_an_eviction_is_refused_where_things_are_no_longer_as_they_were(
    control_plane: Testbed,
    namespace: str,
    nodes: tuple[str, ...],
    meta: dict[str, Any],
    changes: dict[str, Any],
    code: str,
) -> None:
    make(control_plane, pod("web", node=nodes[0], **meta), namespace=namespace)
    uid = changes.pop("uid", found(control_plane, "pod", "web", namespace)["metadata"]["uid"])
    target = Ref("Pod", "web", namespace, uid)
    fields: dict[str, Any] = {"policy": "test", "target": target, "reason": WHY, "node": nodes[0], "workload": None}
    action = Evict(**(fields | changes))
    assert acted(control_plane, action) == [("Refused", code)]
    assert "deletionTimestamp" not in found(control_plane, "pod", "web", namespace)["metadata"]


def test_no_disruption_budget_is_broken_however_many_evictions_there_are(
    control_plane: Testbed, namespace: str, nodes: tuple[str, ...]
) -> None:
    labels = {"app": "web"}
    pods = [pod(f"web-{number}", node=nodes[number % 2], labels=labels) for number in range(12)]
    make(control_plane, budget("web", labels, minimum=9), *pods, namespace=namespace)

    def allowed() -> bool:
        return bool(found(control_plane, "pdb", "web", namespace).get("status", {}).get("disruptionsAllowed") == 3)

    eventually(allowed)
    actions = [eviction(control_plane, f"web-{number}", namespace, nodes[number % 2]) for number in range(12)]
    results = acted(control_plane, *actions)
    assert results.count(("Done", "Test")) == 3
    assert results.count(("Refused", "DisruptionBudget")) == 9
    left = done(control_plane, "get", "pods", "-n", namespace, "-l", "app=web", "-o", "name").split()
    assert len(left) >= 9


def test_a_dry_run_changes_nothing(control_plane: Testbed, namespace: str, nodes: tuple[str, ...]) -> None:
    make(control_plane, pod("web", node=nodes[0]), job("crunch"), namespace=namespace)
    actions: list[AnyAction] = [
        eviction(control_plane, "web", namespace, nodes[0]),
        Suspend(policy="test", target=Ref("Job", "crunch", namespace), reason=WHY),
        SetNodeResources(policy="test", target=Ref("Node", nodes[0]), reason=WHY, resources={BATCH: 7}),
        Cordon(policy="test", target=Ref("Node", nodes[0]), reason=WHY),
    ]
    assert acted(control_plane, *actions, dry_run=True) == [("Done", "Test")] * 4
    assert "deletionTimestamp" not in found(control_plane, "pod", "web", namespace)["metadata"]
    assert not found(control_plane, "job", "crunch", namespace)["spec"]["suspend"]
    node = found(control_plane, "node", nodes[0])
    assert node["status"]["allocatable"].get(BATCH) != "7"
    assert not node["spec"].get("unschedulable")


def test_a_job_is_suspended_and_resumed(control_plane: Testbed, namespace: str) -> None:
    make(control_plane, job("crunch", parallelism=2), namespace=namespace)
    target = Ref("Job", "crunch", namespace, found(control_plane, "job", "crunch", namespace)["metadata"]["uid"])
    stop, go = Suspend(policy="test", target=target, reason=WHY), Resume(policy="test", target=target, reason=WHY)

    def suspended() -> bool:
        return bool(found(control_plane, "job", "crunch", namespace)["spec"]["suspend"])

    assert acted(control_plane, go) == [("Refused", "Unchanged")]
    assert acted(control_plane, stop) == [("Done", "Test")]
    assert suspended()
    assert acted(control_plane, stop) == [("Refused", "Unchanged")]
    assert acted(control_plane, go) == [("Done", "Test")]
    assert not suspended()


def test_a_deployment_that_is_suspended_keeps_its_replicas_aside(control_plane: Testbed, namespace: str) -> None:
    done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment("web", 3))
    target = Ref("Deployment", "web", namespace)
    stop, go = Suspend(policy="test", target=target, reason=WHY), Resume(policy="test", target=target, reason=WHY)

    def stands() -> tuple[int, str | None]:
        item = found(control_plane, "deployment", "web", namespace)
        return item["spec"]["replicas"], item["metadata"].get("annotations", {}).get(SUSPENDED_REPLICAS)

    assert acted(control_plane, stop) == [("Done", "Test")]
    assert stands() == (0, "3")
    assert acted(control_plane, stop) == [("Refused", "Unchanged")]
    assert acted(control_plane, go) == [("Done", "Test")]
    assert stands() == (3, None)
    assert acted(control_plane, go) == [("Refused", "Unchanged")]


def test_a_deployment_is_scaled_from_what_was_meant(control_plane: Testbed, namespace: str) -> None:
    done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment("web", 1))
    target = Ref("Deployment", "web", namespace)
    more = Scale(policy="test", target=target, reason=WHY, replicas=3, was=1)
    assert acted(control_plane, more) == [("Done", "Test")]
    assert found(control_plane, "deployment", "web", namespace)["spec"]["replicas"] == 3
    assert acted(control_plane, more) == [("Refused", "Unchanged")]
    other = Scale(policy="test", target=target, reason=WHY, replicas=2, was=1)
    assert acted(control_plane, other) == [("Refused", "Conflict")]


def test_a_job_is_scaled_by_its_parallelism(control_plane: Testbed, namespace: str) -> None:
    make(control_plane, job("crunch", parallelism=2), namespace=namespace)
    action = Scale(policy="test", target=Ref("Job", "crunch", namespace), reason=WHY, replicas=5, was=2)
    assert acted(control_plane, action) == [("Done", "Test")]
    assert found(control_plane, "job", "crunch", namespace)["spec"]["parallelism"] == 5


def test_what_an_autoscaler_scales_is_not_scaled(control_plane: Testbed, namespace: str) -> None:
    done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment("web", 1))
    done(control_plane, "autoscale", "deployment", "web", "-n", namespace, "--max=3")
    action = Scale(policy="test", target=Ref("Deployment", "web", namespace), reason=WHY, replicas=2, was=1)
    assert acted(control_plane, action) == [("Refused", "Autoscaled")]


def test_replicas_that_somebody_set_meanwhile_stay(control_plane: Testbed, namespace: str) -> None:
    done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment("web", 3))
    target = Ref("Deployment", "web", namespace)
    assert acted(control_plane, Suspend(policy="test", target=target, reason=WHY)) == [("Done", "Test")]
    done(control_plane, "scale", "deployment", "web", "-n", namespace, "--replicas=5")
    assert acted(control_plane, Resume(policy="test", target=target, reason=WHY)) == [("Done", "Test")]
    item = found(control_plane, "deployment", "web", namespace)
    assert item["spec"]["replicas"] == 5
    assert SUSPENDED_REPLICAS not in item["metadata"].get("annotations", {})


def test_what_an_autoscaler_scales_or_somebody_holds_is_not_suspended(control_plane: Testbed, namespace: str) -> None:
    for name in ("scaled", "held"):
        done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment(name, 1))
    done(control_plane, "autoscale", "deployment", "scaled", "-n", namespace, "--max=3")
    done(control_plane, "annotate", "deployment", "held", "-n", namespace, "neaptide.io/hold=true")
    results = outcomes(
        control_plane,
        *(Suspend(policy="test", target=Ref("Deployment", name, namespace), reason=WHY) for name in ("scaled", "held")),
    )
    assert [(each.result, each.reason.code) for each in results] == [("Refused", "Autoscaled"), ("Refused", "Held")]
    assert "scaled" in results[0].reason.message


def test_a_workload_with_a_protected_pod_is_not_suspended(control_plane: Testbed, namespace: str) -> None:
    done(control_plane, "create", "-n", namespace, "-f", "-", content=deployment("web", 1))

    def pods() -> list[str]:
        return done(control_plane, "get", "pods", "-n", namespace, "-o", "name").split()

    eventually(pods)
    done(control_plane, "annotate", pods()[0], "-n", namespace, "karpenter.sh/do-not-disrupt=true")
    action = Suspend(policy="test", target=Ref("Deployment", "web", namespace), reason=WHY)
    assert acted(control_plane, action) == [("Refused", "DoNotDisrupt")]


def test_a_pod_that_waits_is_let_onto_virtual_nodes_once_and_keeps_its_own_tolerations(
    control_plane: Testbed, namespace: str, nodes: tuple[str, ...]
) -> None:
    def letting(name: str) -> Tolerate:
        target = Ref("Pod", name, namespace)
        return Tolerate(
            policy="test", target=target, reason=WHY, key="virtual-kubelet.io/provider", effect="NoSchedule"
        )

    waits = pod("waits", node="")
    waits["spec"] |= {"tolerations": [{"key": "own", "operator": "Exists"}], "nodeSelector": {"nobody": "has"}}
    del waits["spec"]["nodeName"]
    make(control_plane, waits, pod("bound", node=nodes[0]), namespace=namespace)
    assert acted(control_plane, letting("waits")) == [("Done", "Test")]
    assert acted(control_plane, letting("waits")) == [("Refused", "Unchanged")]
    assert acted(control_plane, letting("bound")) == [("Refused", "Bound")]
    tolerations = found(control_plane, "pod", "waits", namespace)["spec"]["tolerations"]
    assert tolerations[0] == {"key": "own", "operator": "Exists"}
    assert {"key": "virtual-kubelet.io/provider", "operator": "Exists", "effect": "NoSchedule"} in tolerations


def test_extended_resources_stand_in_capacity_and_allocatable(control_plane: Testbed, nodes: tuple[str, ...]) -> None:
    def setting(amount: int | None) -> SetNodeResources:
        return SetNodeResources(policy="test", target=Ref("Node", nodes[1]), reason=WHY, resources={BATCH: amount})

    def stands() -> tuple[str | None, str | None]:
        status = found(control_plane, "node", nodes[1])["status"]
        return status["capacity"].get(BATCH), status["allocatable"].get(BATCH)

    assert acted(control_plane, setting(4200)) == [("Done", "Test")]
    assert stands() in (("4200", "4200"), ("4.2k", "4.2k"))
    assert acted(control_plane, setting(4200)) == [("Refused", "Unchanged")]
    assert acted(control_plane, setting(None)) == [("Done", "Test")]
    assert stands() == (None, None)


def test_taints_and_cordons_come_and_go_and_leave_others_taints_alone(
    control_plane: Testbed, nodes: tuple[str, ...]
) -> None:
    done(control_plane, "taint", "node", nodes[1], "other=stays:NoExecute")
    target = Ref("Node", nodes[1])
    common: dict[str, Any] = {"policy": "test", "target": target, "reason": WHY}
    actions: list[AnyAction] = [
        Taint(**common, key="neaptide.io/drain", value="test"),
        Untaint(**common, key="neaptide.io/drain"),
        Cordon(**common),
        Uncordon(**common),
    ]
    for action in actions:
        assert acted(control_plane, action) == [("Done", "Test")]
        assert acted(control_plane, action) == [("Refused", "Unchanged")]
    spec = found(control_plane, "node", nodes[1])["spec"]
    keys = {each["key"] for each in spec["taints"]}
    # Kubernetes puts its own on what is cordoned, and takes them off later.
    assert {key for key in keys if not key.startswith("node.kubernetes.io/")} == {"other", "neaptide.io/test"}
    assert not spec.get("unschedulable")
    done(control_plane, "taint", "node", nodes[1], "other:NoExecute-")


def test_writes_that_meet_others_writes_lose_neither(control_plane: Testbed, nodes: tuple[str, ...]) -> None:
    async def race(client: Client) -> list[str]:
        actuator = Actuator(Api(client, lambda: 0.0), patience=Patience(first_pause=0.01))

        async def label() -> None:
            for number in range(60):
                await client.patch(NODES, nodes[0], {"metadata": {"labels": {f"race-{number}": "on"}}})

        async def act() -> list[str]:
            results = []
            for number in range(1, 21):
                common: dict[str, Any] = {"policy": "test", "target": Ref("Node", nodes[0]), "reason": WHY}
                actions: list[AnyAction] = [
                    SetNodeResources(**common, resources={BATCH: number}),
                    Cordon(**common),
                    Uncordon(**common),
                ]
                results += [each.result for each in await actuator.carry_out(actions)]
            return results

        _, results = await asyncio.gather(label(), act())
        return results

    assert set(speaking(control_plane, race)) == {"Done"}
    node = found(control_plane, "node", nodes[0])
    assert sum(label.startswith("race-") for label in node["metadata"]["labels"]) == 60
    assert node["status"]["allocatable"][BATCH] == "20"


def test_what_a_plan_by_hand_wants_of_a_kind_that_is_not_acted_on_is_refused(control_plane: Testbed) -> None:
    where = Ref("Widget", "w", "default")
    evict = Evict(policy="test", target=where, reason=WHY, node="n", workload=None)
    taint = Taint(policy="test", target=where, reason=WHY, key="k")
    assert acted(control_plane, evict, taint) == [("Refused", "NotAccepted")] * 2


def test_who_does_not_lead_does_nothing(control_plane: Testbed, namespace: str, nodes: tuple[str, ...]) -> None:
    make(control_plane, pod("web", node=nodes[0]), namespace=namespace)
    action = eviction(control_plane, "web", namespace, nodes[0])
    assert acted(control_plane, action, may_act=lambda: False) == [("Refused", "NotLeader")]
    assert "deletionTimestamp" not in found(control_plane, "pod", "web", namespace)["metadata"]


def test_who_is_ending_begins_nothing_more(control_plane: Testbed, namespace: str, nodes: tuple[str, ...]) -> None:
    make(control_plane, pod("web", node=nodes[0]), namespace=namespace)
    action = eviction(control_plane, "web", namespace, nodes[0])

    async def act(client: Client) -> list[str]:
        actuator = Actuator(Api(client, lambda: 0.0))
        actuator.stop()
        return [each.reason.code for each in await actuator.carry_out([action])]

    assert speaking(control_plane, act) == ["ShuttingDown"]


def test_a_target_that_is_gone_is_no_error(control_plane: Testbed) -> None:
    common: dict[str, Any] = {"policy": "test", "reason": WHY}
    actions: list[AnyAction] = [
        Evict(**common, target=Ref("Pod", "gone", "default"), node="n", workload=None),
        Suspend(**common, target=Ref("Job", "gone", "default")),
        SetNodeResources(**common, target=Ref("Node", "gone"), resources={BATCH: 1}),
        Suspend(**common, target=Ref("DaemonSet", "any", "default")),
    ]
    assert acted(control_plane, *actions) == [
        ("Done", "NotFound"),
        ("Refused", "NotFound"),
        ("Refused", "NotFound"),
        ("Refused", "NotSuspendable"),
    ]
