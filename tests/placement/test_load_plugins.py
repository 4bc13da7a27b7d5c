"""Filters and scores that read what nodes and pods use, and when pods came: known cases."""

from typing import Any

import numpy as np
import pytest
from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.node_info import NodeInfo, Percentiles
from neaptide.model.run_times import RUN_SECONDS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.placement.filters.hybrid_unschedulable import LABEL, LEAVING, MARKED, PRESSED, STALE, HybridUnschedulable
from neaptide.placement.filters.load_aware import ANNOTATION, EXPIRED, AggregatedThresholds, LoadAware, Thresholds
from neaptide.placement.filters.node_info_rt import STALE as NO_INFO
from neaptide.placement.filters.node_info_rt import NodeInfoRt
from neaptide.placement.load_aware import Aggregated, Estimation, ScalingFactors, estimate
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile, read_profile
from neaptide.placement.scores.cool_down_hot_node import CoolDownHotNode
from neaptide.placement.scores.like_ends import LikeEnds
from neaptide.placement.scores.load_aware import LoadAware as LoadAwareScore
from neaptide.placement.scores.node_balance import NodeBalance
from neaptide.placement.scores.node_info_rt import NodeInfoRt as NodeInfoRtScore
from neaptide.placement.view import View

NOW = 1_800_000_000.0
GI = 2**30
BATCH = {"kubernetes.io/batch-cpu": "1000", "kubernetes.io/batch-memory": "1Gi"}


def runs(seconds: object) -> dict[str, str]:
    """Annotations of a pod that says how long it runs."""
    return {RUN_SECONDS: str(seconds)}


class Scene:
    """A cluster of nodes with 100 CPU and 100 GiB, measured `age` seconds ago, and one pod to place."""

    def __init__(self, **new: Any) -> None:
        self.snapshot = ClusterSnapshot()
        self.snapshot.set(pod("new", **new))

    def node(self, name: str, *, cpu: float = 0.0, memory: float = 0.0, age: float = 10.0, **extra: Any) -> "Scene":
        row = self.snapshot.set_node(node(name, cpu="100", memory="100Gi", **extra))
        self.snapshot.set_node_usage(row, cpu * 1000, memory * GI, NOW - age)
        return self

    def pod(
        self, name: str, on: str, *, ago: float | None = 3600.0, used: float | None = None, **extra: Any
    ) -> "Scene":
        item = pod(name, node=on, started=None if ago is None else timestamp(NOW - ago), **extra)
        row = self.snapshot.set_pod(item)
        if used is not None:
            self.snapshot.set_pod_usage(row, used * 1000, 0.0)
        return self

    def job(self, name: str, deadline: int) -> "Scene":
        meta, spec = o.Metadata(name=name, namespace="default"), o.WorkloadSpec(active_deadline_seconds=deadline)
        self.snapshot.set(o.Workload("Job", meta, spec))
        return self

    def info(self, name: str, *, age: float = 10.0, **values: Any) -> "Scene":
        known = self.snapshot.others.setdefault("NodeInfo", {})
        known[name] = NodeInfo(o.Metadata(name=name), NOW - age, **values)
        return self

    def view(self) -> View:
        view = View(self.snapshot)
        view.at(NOW)
        return view

    def refused(self, rule: Any) -> dict[str, set[str]]:
        """By node, the reasons of a filter."""
        view = self.view()
        found = rule.failures(view, view.pod(self.snapshot.pods.by_key["default/new"]))
        return {
            name: reasons
            for name, row in self.snapshot.nodes.by_name.items()
            if (reasons := {reason for reason, failed in found.items() if failed[row]})
        }

    def scores(self, rule: Any) -> dict[str, int] | None:
        view = self.view()
        pod = view.pod(self.snapshot.pods.by_key["default/new"])
        found = rule.scores(view, pod, np.arange(self.snapshot.nodes.rows))
        return None if found is None else dict(zip(self.snapshot.nodes.names, found.tolist(), strict=True))


ESTIMATES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "requests count at 85 % and 70 %": ({"cpu": "4", "memory": "10Gi"}, (3400, 7 * GI)),
    "a limit above the request counts in its place": (
        {"cpu": "1", "memory": "1Gi", "limits": {"cpu": "4", "memory": "10Gi"}},
        (3400, 7 * GI),
    ),
    "nothing named counts 250m and 200Mi": ({}, (250, 200 << 20)),
    "a batch pod counts by its batch resources": (BATCH, (850, 7 * GI // 10)),
}


@pytest.mark.parametrize(("pods", "expected"), ESTIMATES.values(), ids=ESTIMATES)
def test_estimates_of_a_pod(pods: dict[str, Any], expected: tuple[int, int]) -> None:
    scene = Scene(**pods)
    found = estimate(scene.snapshot.shape_of_pod(0), ScalingFactors())
    assert found == pytest.approx(expected, abs=1)


CPU_OVER, MEMORY_OVER = "node(s) cpu usage exceed threshold", "node(s) memory usage exceed threshold"
LOAD_AWARE: dict[str, tuple[LoadAware, Scene, dict[str, set[str]]]] = {
    "usage with the incoming pod at the threshold passes, and above it does not": (
        LoadAware(),
        Scene(cpu="10", memory="1Gi").node("at", cpu=56.5).node("above", cpu=57.5),
        {"above": {CPU_OVER}},
    ),
    "memory has a threshold of its own": (
        LoadAware(),
        Scene(cpu="0", memory="10Gi").node("full", memory=90.0),
        {"full": {MEMORY_OVER}},
    ),
    "a pod that the measurement cannot show yet counts at its estimate": (
        LoadAware(),
        Scene(cpu="1").node("a", cpu=50.0).pod("p", "a", ago=20.0, used=1.0, cpu="20"),
        {"a": {CPU_OVER}},
    ),
    "one that the measurement shows counts at what it uses": (
        LoadAware(),
        Scene(cpu="1").node("a", cpu=50.0).pod("p", "a", used=1.0, cpu="20"),
        {},
    ),
    "a pod that was bound and has not started counts at its estimate": (
        LoadAware(),
        Scene(cpu="1").node("a", cpu=50.0).pod("p", "a", ago=None, cpu="20"),
        {"a": {CPU_OVER}},
    ),
    "a node without a measurement passes": (LoadAware(), Scene(cpu="10").node("a", cpu=np.nan, age=np.nan), {}),
    "a node whose measurement has expired is refused": (
        LoadAware(),
        Scene(cpu="10").node("a", cpu=99.0, age=181.0).node("b", cpu=1.0, age=180.0),
        {"a": {EXPIRED}},
    ),
    "an expired measurement may be let pass": (
        LoadAware(enable_schedule_when_node_metrics_expired=True),
        Scene(cpu="10").node("a", cpu=99.0, age=181.0),
        {},
    ),
    "or be believed": (
        LoadAware(filter_expired_node_metrics=False),
        Scene(cpu="10").node("a", cpu=99.0, age=181.0),
        {"a": {CPU_OVER}},
    ),
    "a DaemonSet's pod goes anywhere": (
        LoadAware(),
        Scene(cpu="10", owner=("DaemonSet", "agent")).node("a", cpu=99.0),
        {},
    ),
    "a prod pod is judged by what prod pods use": (
        LoadAware(prod_usage_thresholds=Thresholds(cpu=30)),
        Scene(cpu="10")
        .node("batch", cpu=90.0)
        .node("prod", cpu=40.0)
        .pod("b", "batch", used=80.0, labels={"koordinator.sh/priority-class": "koord-batch"})
        .pod("p", "prod", used=30.0),
        {"prod": {"node(s) cpu prod usage exceed threshold"}},
    ),
    "any other by what all use": (
        LoadAware(prod_usage_thresholds=Thresholds(cpu=30)),
        Scene(cpu="10", labels={"koordinator.sh/priority-class": "koord-batch"})
        .node("a", cpu=40.0)
        .pod("p", "a", used=40.0),
        {},
    ),
    "a percentile stands for the usage where it is known": (
        LoadAware(aggregated=AggregatedThresholds(usage_thresholds=Thresholds(cpu=65))),
        Scene(cpu="1")
        .node("calm", cpu=90.0)
        .node("bursts", cpu=10.0)
        .node("unknown", cpu=90.0)
        .info("calm", percentiles={"5m": Percentiles(cpu={"p95": 20_000.0})})
        .info("bursts", percentiles={"5m": Percentiles(cpu={"p95": 80_000.0}), "10m": Percentiles()}),
        {name: {"node(s) cpu aggregated usage exceed threshold"} for name in ("bursts", "unknown")},
    ),
    "a node's annotation has the last word, unless it cannot be read": (
        LoadAware(),
        Scene(cpu="1")
        .node("own", cpu=50.0, annotations={ANNOTATION: '{"usageThresholds": {"cpu": 40}}'})
        .node("lax", cpu=80.0, annotations={ANNOTATION: '{"usageThresholds": {"cpu": 90}}'})
        .node("broken", cpu=80.0, annotations={ANNOTATION: "40"}),
        {"own": {CPU_OVER}, "broken": {CPU_OVER}},
    ),
}


@pytest.mark.parametrize(("rule", "scene", "expected"), LOAD_AWARE.values(), ids=LOAD_AWARE)
def test_load_aware_refuses(rule: LoadAware, scene: Scene, expected: dict[str, set[str]]) -> None:
    assert scene.refused(rule) == expected


SCORES: dict[str, tuple[Any, Scene, dict[str, int] | None]] = {
    "load aware: the mean of what would be left of CPU and memory": (
        LoadAwareScore(),
        Scene(cpu="10", memory="10Gi").node("idle").node("busy", cpu=50.0),
        {"idle": (91 + 93) // 2, "busy": (41 + 93) // 2},
    ),
    "load aware: the scarcest resource may count once more": (
        LoadAwareScore(dominant_resource_weight=1),
        Scene(cpu="10", memory="10Gi").node("busy", cpu=50.0),
        {"busy": (41 + 93 + 41) // 3},
    ),
    "load aware: 0 without a fresh measurement": (
        LoadAwareScore(),
        Scene(cpu="10", memory="10Gi").node("never", cpu=np.nan, age=np.nan).node("old", age=181.0),
        {"never": 0, "old": 0},
    ),
    "load aware: nothing is left of a node in use beyond what it has": (
        LoadAwareScore(),
        Scene(cpu="10", memory="10Gi").node("over", cpu=95.0),
        {"over": 93 // 2},
    ),
    "load aware: for prod pods, what prod pods use": (
        LoadAwareScore(score_according_prod_usage=True, estimation=Estimation(ScalingFactors(100, 100))),
        Scene(cpu="10", memory="10Gi").node("a", cpu=80.0).pod("p", "a", used=20.0, cpu="20"),
        {"a": (70 + 90) // 2},
    ),
    "load aware: by a percentile": (
        LoadAwareScore(aggregated=Aggregated("max", "10m"), estimation=Estimation(ScalingFactors(100, 100))),
        Scene(cpu="10", memory="10Gi")
        .node("a", cpu=1.0)
        .info("a", percentiles={"10m": Percentiles({"max": 60_000.0}, {"max": 0.0})}),
        {"a": (30 + 90) // 2},
    ),
    "cool down: pods that came just now count fully, and half after each half-life": (
        CoolDownHotNode(),
        Scene()
        .node("cold")
        .node("hot")
        .node("cooling")
        .node("over")
        .pod("h1", "hot", ago=None)
        .pod("h2", "hot", ago=0.0)
        .pod("c1", "cooling", ago=60.0)
        .pod("c2", "cooling", ago=60.0)
        .pod("o", "over", ago=301.0),
        {"cold": 100, "hot": 80, "cooling": 90, "over": 100},
    ),
    "cool down: never below 0": (
        CoolDownHotNode(hot_pods=1.0),
        Scene().node("hot").pod("a", "hot", ago=None).pod("b", "hot", ago=None),
        {"hot": 0},
    ),
    "cool down: DaemonSets' pods heat nothing": (
        CoolDownHotNode(),
        Scene().node("a").pod("d", "a", ago=None, owner=("DaemonSet", "agent")),
        {"a": 100},
    ),
    "like ends: as late is best, earlier is worse than later, and a node without an end is not begun": (
        LikeEnds(),
        Scene(annotations=runs(3600))
        .node("alike")
        .node("later")
        .node("sooner")
        .node("service")
        .node("overdue")
        .node("ended")
        .pod("a", "alike", ago=3600.0, annotations=runs(7200))
        .pod("a2", "alike", ago=None, annotations=runs(60))
        .pod("l", "later", ago=0.0, annotations=runs(7200))
        .pod("s", "sooner", ago=None, annotations=runs(1800))
        .pod("w", "service")
        .pod("o", "overdue", ago=3600.0, annotations=runs(1800))
        .pod("e", "ended", ago=0.0, annotations=runs(3600), phase="Succeeded"),
        {"alike": 100, "later": 75, "sooner": 50, "service": 0, "overdue": 0, "ended": 0},
    ),
    "like ends: a Job's deadline is an end too": (
        LikeEnds(),
        Scene(annotations=runs(10_000), owner=("Job", "short"))
        .job("short", 3600)
        .job("long", 7200)
        .node("a")
        .node("b")
        .pod("s", "a", ago=None, owner=("Job", "short"))
        .pod("l", "b", ago=3600.0, owner=("Job", "long"), annotations=runs(9_000)),
        {"a": 100, "b": 100},
    ),
    "like ends: nothing to say of a pod that says nothing": (
        LikeEnds(),
        Scene(annotations=runs("soon")).node("a").pod("p", "a", annotations=runs(60)),
        None,
    ),
    "node balance: a pod that uses much goes to a node that is idle by its use, not by its requests": (
        NodeBalance(),
        Scene(cpu="10")
        .node("asked")
        .node("used")
        .pod("a", "asked", used=5.0, cpu="50")
        .pod("u", "used", used=35.0, cpu="30"),
        # k = 80 / 40 = 2. The pod: 10 requested, 8.5 expected, that is -7 of balance.
        # asked: |50 - 10| = 40 -> 33; used: |30 - 70| = 40 -> 47.
        {"asked": 50 + (50 + 67 - 60) // 2, "used": 50 + (50 + 53 - 60) // 2},
    ),
    "node balance: nothing to say of an empty cluster": (NodeBalance(), Scene(cpu="10").node("a"), None),
    "real time: the weighted mean of what is known": (
        NodeInfoRtScore(weights={"load.1m": 1.0, "pressure.memory": 3.0, "disk": 4.0}),
        Scene()
        .node("a")
        .node("b")
        .node("old")
        .node("unknown")
        .info("a", load={"1m": 0.4}, pressure={"memory": 0.2})
        .info("b", load={"1m": 7.0}, pressure={"memory": 0.0}, disk=0.5)
        .info("old", age=181.0, load={"1m": 0.0}),
        {"a": 75, "b": 62, "old": 0, "unknown": 0},
    ),
}


@pytest.mark.parametrize(("rule", "scene", "expected"), SCORES.values(), ids=SCORES)
def test_scores(rule: Any, scene: Scene, expected: dict[str, int] | None) -> None:
    assert scene.scores(rule) == expected


MARKS: dict[str, tuple[HybridUnschedulable, Scene, dict[str, set[str]]]] = {
    "by a label": (
        HybridUnschedulable(),
        Scene(**BATCH).node("a", labels={LABEL: "true"}).node("b", labels={LABEL: "false"}),
        {"a": {MARKED}},
    ),
    "by the pool": (
        HybridUnschedulable(pools=("payments",)),
        Scene(**BATCH).node("a", labels={"karpenter.sh/nodepool": "payments"}).node("b"),
        {"a": {MARKED}},
    ),
    "by the kubelet's conditions, tolerated or not": (
        HybridUnschedulable(),
        Scene(**BATCH, spec={"tolerations": (o.Toleration(operator="Exists"),)}).node(
            "a", taints=(o.Taint("node.kubernetes.io/memory-pressure", "", "NoSchedule"),)
        ),
        {"a": {PRESSED}},
    ),
    "by pressure stall": (
        HybridUnschedulable(pressure_thresholds={"memory": 0.1}),
        Scene(**BATCH).node("a").node("b").info("a", pressure={"memory": 0.2}).info("b", pressure={"memory": 0.1}),
        {"a": {PRESSED}},
    ),
    "near its release": (
        HybridUnschedulable(),
        Scene(**BATCH).node("a", taints=(o.Taint("DeletionCandidateOfClusterAutoscaler", "", "PreferNoSchedule"),)),
        {"a": {LEAVING}},
    ),
    "where metrics are too old, or there never were any": (
        HybridUnschedulable(),
        Scene(**BATCH).node("a", age=200.0).node("b", age=np.nan).node("c", age=180.0),
        {"a": {STALE}, "b": {STALE}},
    ),
    "but only pods that use elastic resources": (
        HybridUnschedulable(),
        Scene(cpu="1").node("a", age=200.0, labels={LABEL: "true"}),
        {},
    ),
}


@pytest.mark.parametrize(("rule", "scene", "expected"), MARKS.values(), ids=MARKS)
def test_elastic_pods_are_kept_off(rule: HybridUnschedulable, scene: Scene, expected: dict[str, set[str]]) -> None:
    assert scene.refused(rule) == expected


REAL_TIME: dict[str, tuple[NodeInfoRt, Scene, dict[str, set[str]]]] = {
    "above any threshold": (
        NodeInfoRt(),
        Scene().node("a").node("b").info("a", load={"5m": 2.0}, disk=0.95).info("b", load={"1m": 9.0}),
        {"a": {"node(s) had too much load 5m", "node(s) had too much disk"}},
    ),
    "not by data that is stale or unknown": (
        NodeInfoRt(),
        Scene().node("a").node("b").info("a", age=181.0, load={"5m": 2.0}),
        {},
    ),
    "unless fresh data is asked for": (
        NodeInfoRt(refuse_stale=True),
        Scene().node("a").node("b").node("c").info("a", age=181.0).info("c"),
        {"a": {NO_INFO}, "b": {NO_INFO}},
    ),
}


@pytest.mark.parametrize(("rule", "scene", "expected"), REAL_TIME.values(), ids=REAL_TIME)
def test_overloaded_nodes_are_refused(rule: NodeInfoRt, scene: Scene, expected: dict[str, set[str]]) -> None:
    assert scene.refused(rule) == expected


def test_a_burst_spreads_though_no_metric_shows_it_yet() -> None:
    scene = Scene(cpu="1").node("a", cpu=10.0).node("b", cpu=11.0).node("c", cpu=12.0)
    names = [f"burst-{number}" for number in range(30)]
    for name in names:
        scene.snapshot.set(pod(name, cpu="1", memory="1Gi"))
    placement = Placement(scene.snapshot, Profile(scores=(LoadAwareScore(), CoolDownHotNode())))
    placement.at(NOW)
    placed = placement.schedule([scene.snapshot.pods.by_key[f"default/{name}"] for name in names])
    counts = np.bincount([each.node for each in placed if each.node is not None])
    assert counts.sum() == 30
    assert counts.max() - counts.min() <= 2


def test_the_plugins_come_into_a_profile_by_name() -> None:
    profile = read_profile(
        """
        filters: [NodeResourcesFit, HybridUnschedulable, NodeInfoRt, {name: LoadAware, usageThresholds: {cpu: 70, memory: 90}}]
        scores:
        - {name: LoadAware, weight: 3, dominantResourceWeight: 1, estimation: {scalingFactors: {cpu: 80}}}
        - {name: CoolDownHotNode, windowSeconds: 120, halfLifeSeconds: 30}
        - {name: NodeBalance, weight: 2}
        - NodeInfoRt
        """
    )
    assert profile.filters[3] == LoadAware(usage_thresholds=Thresholds(70, 90))
    assert profile.scores == (
        LoadAwareScore(weight=3, dominant_resource_weight=1, estimation=Estimation(ScalingFactors(cpu=80))),
        CoolDownHotNode(window_seconds=120.0, half_life_seconds=30.0),
        NodeBalance(weight=2),
        NodeInfoRtScore(),
    )
