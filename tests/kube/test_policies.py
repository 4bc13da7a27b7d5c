"""The controller and the objects of neaptide.io: it does what Policies say, says in their status how that went, and carries out what a person approves."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import eventually, found, make, running
from tests.testbed.asking import deployment, done, items

from neaptide.kube.configuration import choose, strictest
from neaptide.loop import Mode
from neaptide.policies.arbiter import Budgets
from neaptide.policies.leftovers import OWNERS
from neaptide.policies.spot_rescheduler_default import PREFER_SPOT
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

NOW = 1_800_000_000.0


def policy(name: str, *, age: int = 1, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "creationTimestamp": f"2026-01-{age:02d}T00:00:00Z"}
    return {"apiVersion": "neaptide.io/v1alpha1", "kind": "Policy", "metadata": meta, "spec": spec}


def raw(item: dict[str, Any]) -> bytes:
    return json.dumps(item).encode()


def test_of_two_policies_for_the_same_the_older_counts_and_the_other_says_so() -> None:
    chosen = choose(
        [raw(policy("new", age=9, policy="reclaim")), raw(policy("old", policy="reclaim", mode="Enforce"))], NOW
    )
    assert [(each.policy.name, each.mode) for each in chosen.settings] == [("reclaim", Mode.ENFORCE)]
    assert chosen.verdicts["old"].ready
    assert chosen.verdicts["new"].conflict == "old"


def test_a_policy_that_cannot_be_read_says_why_and_stops_no_other() -> None:
    bad = policy(
        "bad", policy="timeWindows", timeWindows={"rules": [{"windows": [{"schedule": "never", "durationSeconds": 1}]}]}
    )
    chosen = choose([raw(bad), raw(policy("good", policy="reclaim"))], NOW)
    assert [each.policy.name for each in chosen.settings] == ["reclaim"]
    assert "never" in chosen.verdicts["bad"].message
    assert not chosen.verdicts["bad"].ready


def test_outside_of_its_schedule_a_policy_only_recommends() -> None:
    schedule = {"windows": [{"schedule": "0 0 29 2 *", "durationSeconds": 1}]}
    chosen = choose([raw(policy("quiet", policy="reclaim", mode="Enforce", schedule=schedule))], NOW)
    assert chosen.settings[0].mode is Mode.RECOMMEND


def test_of_several_limits_the_strictest_holds() -> None:
    some = [
        Budgets(evictions_per_cycle=5, minimum_stay_seconds=60.0),
        Budgets(evictions_per_cycle=9, minimum_stay_seconds=600.0),
    ]
    assert strictest(some) == Budgets(evictions_per_cycle=5, minimum_stay_seconds=600.0)
    assert strictest([]) == Budgets()


def condition(testbed: Testbed, name: str, kind: str) -> dict[str, Any]:
    conditions = found(testbed, "policies.neaptide.io", name).get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def test_a_recommended_plan_is_written_down_and_done_once_a_person_approves(installed: Testbed, tmp_path: Path) -> None:
    closed = {
        "selector": {"kinds": ["Deployment"], "namespaces": ["default"]},
        "windows": [{"schedule": "0 0 29 2 *", "durationSeconds": 1}],
        "graceSeconds": 0,
    }
    spec: dict[str, Any] = {
        "policy": "timeWindows",
        "timeWindows": {"rules": [closed]},
    }
    for name in ("web", "api"):
        done(installed, "create", "-f", "-", content=deployment(name, 2))
    done(installed, "create", "-f", "-", content=json.dumps(policy("nights", **spec)))

    def check() -> None:
        eventually(lambda: items(installed, "plans.neaptide.io"))
        [plan] = items(installed, "plans.neaptide.io")
        assert {each["target"]["name"] for each in plan["spec"]["actions"]} == {"web", "api"}
        eventually(lambda: condition(installed, "nights", "Ready").get("status") == "True")
        status = found(installed, "policies.neaptide.io", "nights")["status"]
        assert status["lastPlan"]["actions"] == 2
        assert condition(installed, "nights", "Conflict")["status"] == "False"
        assert found(installed, "deployment", "web", "default")["spec"]["replicas"] == 2
        name = plan["metadata"]["name"]
        done(installed, "patch", "plans.neaptide.io", name, "--type=merge", '-p={"spec":{"approved":true}}')
        eventually(lambda: found(installed, "plans.neaptide.io", name)["status"].get("phase") == "Done")
        results = found(installed, "plans.neaptide.io", name)["status"]["outcomes"]
        assert [each["result"] for each in results] == ["Done", "Done"]
        for each in ("web", "api"):
            assert found(installed, "deployment", each, "default")["spec"]["replicas"] == 0
        done(installed, "patch", "policies.neaptide.io", "nights", "--type=merge", '-p={"spec":{"mode":"Off"}}')
        eventually(lambda: "Off" in condition(installed, "nights", "Ready").get("message", ""))

    asyncio.run(running(installed, tmp_path, check))


def keys(testbed: Testbed, node: str) -> set[str]:
    return {each["key"] for each in found(testbed, "node", node)["spec"].get("taints", [])}


@pytest.mark.slow
def test_a_policy_that_is_switched_off_or_removed_leaves_no_taint_and_those_of_users_stay(
    installed: Testbed, tmp_path: Path
) -> None:
    amounts = {"cpu": "4", "memory": "16Gi", "pods": "110"}
    kinds = ("spot", "on-demand")
    add_nodes(installed.site, [fake_node(kind, {"karpenter.sh/capacity-type": kind}, amounts) for kind in kinds])
    done(installed, "taint", "node", "on-demand", "neaptide.io/pool=online:NoSchedule")
    asked = policy("spot", policy="spotRescheduler", mode="Enforce")

    def check() -> None:
        make(installed, asked)
        eventually(lambda: PREFER_SPOT in keys(installed, "on-demand"), "it acts")
        done(installed, "patch", "policies.neaptide.io", "spot", "--type=merge", '--patch={"spec": {"mode": "Off"}}')
        eventually(lambda: PREFER_SPOT not in keys(installed, "on-demand"), "it is off, and leaves no taint")
        done(
            installed, "patch", "policies.neaptide.io", "spot", "--type=merge", '--patch={"spec": {"mode": "Enforce"}}'
        )
        eventually(lambda: PREFER_SPOT in keys(installed, "on-demand"), "it acts again")
        for key in OWNERS.keys() - {PREFER_SPOT}:
            done(installed, "taint", "node", "on-demand", f"{key}=neaptide.1:NoSchedule")
        done(installed, "delete", "policies.neaptide.io", "spot")
        eventually(lambda: not keys(installed, "on-demand") & OWNERS.keys(), "it is gone, and so is what others left")
        assert "neaptide.io/pool" in keys(installed, "on-demand")

    asyncio.run(running(installed, tmp_path, check))
