"""Reclaim from objects to actions: Koordinator's cases through a snapshot, degradation, strategies by node, memory."""

from collections.abc import Mapping
from math import nan
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.loop import LoopMemory, checkpoint, restore
from neaptide.model import objects as o
from neaptide.model.actions import Plan, SetNodeResources
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.reclaim import Reclaim, ReclaimMemory, ReclaimSpec

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86_400.0
CORE, GB, GIB, MIB = 1000, 10**9, 1 << 30, 1 << 20
BATCH_CPU, BATCH_MEMORY = "kubernetes.io/batch-cpu", "kubernetes.io/batch-memory"
MID_CPU, MID_MEMORY = "kubernetes.io/mid-cpu", "kubernetes.io/mid-memory"


class Case(NamedTuple):
    """A pod: CPU in cores and memory in GB as (request, used); used is nan without a metric."""

    cpu: tuple[float, float]
    memory: tuple[float, float]
    qos: str = ""
    band: str = ""
    phase: str = "Running"


A = Case((20, 11), (20, 11), qos="LS")
B = Case((10, 10), (10, 10), qos="BE", band="koord-batch")
C = Case((20, 22), (40, 22), phase="Pending")
BANDS = [
    Case((10, 5), (10, 11), qos="LSE", band="koord-prod"),
    Case((10, 6), (10, 11), qos="LS", band="koord-prod"),
    Case((10, 22), (10, 11), qos="LS", band="koord-mid"),
    B,
]
LARGEST = {"cpuReclaimThresholdPercent": 150, "memoryReclaimThresholdPercent": 120}
RESERVATION = '{"resources": {"cpu": "2", "memory": "5G"}}'

CASES: dict[str, tuple[dict[str, Any], list[Case], dict[str, Any], tuple[int, int]]] = {
    "by usage": ({}, [A, B, C], {}, (25, 33)),
    "an LSE pod's CPU counts at its request, mid pods count, batch pods do not": ({}, BANDS, {}, (20, 33)),
    "memory by request": (
        {"cpuReclaimThresholdPercent": 70, "memoryReclaimThresholdPercent": 80, "memoryCalculatePolicy": "request"},
        [A, B, C],
        {},
        (30, 36),
    ),
    "CPU by the larger": (
        {"cpuReclaimThresholdPercent": 70, "cpuCalculatePolicy": "maxUsageRequest"},
        [A, B, C],
        {},
        (21, 33),
    ),
    "thresholds above capacity": (
        LARGEST | {"cpuCalculatePolicy": "maxUsageRequest", "memoryCalculatePolicy": "request"},
        [A, B, C],
        {},
        (101, 84),
    ),
    "a limit on batch CPU": (
        LARGEST
        | {
            "cpuCalculatePolicy": "maxUsageRequest",
            "memoryCalculatePolicy": "request",
            "batchCPUThresholdPercent": 100,
        },
        [A, B, C],
        {},
        (100, 84),
    ),
    "memory by the larger": (LARGEST | {"memoryCalculatePolicy": "maxUsageRequest"}, [A, B, C], {}, (110, 72)),
    "reserved by the kubelet above the annotation": (
        {},
        [A, B, C],
        {"allocatable": (90, 100), "annotations": {"node.koordinator.sh/reservation": RESERVATION}},
        (22, 25),
    ),
    "ten CPUs reserved by number": (
        {},
        [A, B, C],
        {"annotations": {"node.koordinator.sh/reservation": '{"reservedCPUs": "0-7,10,11"}'}},
        (22, 33),
    ),
    "a pod without a metric counts at its request": ({}, [A, B, Case((30, nan), (30, nan))], {}, (17, 25)),
    "a mid pod without a metric counts at its mid request": (
        {},
        [A, B, C, Case((2, nan), (2, nan), band="koord-mid", phase="mid")],
        {},
        (23, 31),
    ),
    "a finished pod counts nothing": ({}, [A, B, C, Case((30, nan), (30, nan), phase="Succeeded")], {}, (25, 33)),
    "a failed pod counts nothing": ({}, [A, B, C, Case((30, nan), (30, nan), phase="Failed")], {}, (25, 33)),
    "use that no pod explains is the system's": ({}, [A, B, C], {"unexplained": 4}, (21, 29)),
    "the node's annotation says another threshold": (
        {},
        [A, B, C],
        {"annotations": {"node.koordinator.sh/colocation-strategy": '{"cpuReclaimThresholdPercent": 70}'}},
        (30, 33),
    ),
    "the node's label prevails": (
        {},
        [A, B, C],
        {
            "annotations": {"node.koordinator.sh/colocation-strategy": '{"cpuReclaimThresholdPercent": 70}'},
            "labels": {"node.koordinator.sh/cpu-reclaim-ratio": "0.75"},
        },
        (35, 33),
    ),
    "the first entry of nodeConfigs that fits": (
        {
            "nodeConfigs": [
                {"nodeSelector": {"matchLabels": {"tier": "big"}}, "memoryReclaimThresholdPercent": 75},
                {"nodeSelector": {}, "cpuReclaimThresholdPercent": 0},
            ]
        },
        [A, B, C],
        {"labels": {"tier": "big"}},
        (25, 45),
    ),
    "nothing left": ({"cpuReclaimThresholdPercent": 30, "memoryReclaimThresholdPercent": 30}, [A, B, C], {}, (0, 0)),
}


def cluster(
    pods: list[Case],
    *,
    allocatable: tuple[int, int] = (100, 120),
    unexplained: float = 0.0,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> ClusterSnapshot:
    """Koordinator's node: 100 cores and 120 GB, of which the system uses 7 and 12."""
    snapshot = ClusterSnapshot()
    meta = o.Metadata(name="n", uid="uid-n", labels=labels or {}, annotations=annotations or {})
    capacity = {"cpu": "100", "memory": "120G", "pods": "110"}
    left = {"cpu": str(allocatable[0]), "memory": f"{allocatable[1]}G", "pods": "110"}
    snapshot.set(o.Node(meta, status=o.NodeStatus(allocatable=left, capacity=capacity)))
    used = [7.0 + unexplained, 12.0 + unexplained]
    for number, case in enumerate(pods):
        names = {"koordinator.sh/qosClass": case.qos, "koordinator.sh/priority-class": case.band}
        amounts: dict[str, Any] = {"cpu": f"{case.cpu[0]}", "memory": f"{case.memory[0]}G"}
        if case.phase == "mid":
            amounts = {MID_CPU: f"{case.cpu[0] * CORE}", MID_MEMORY: f"{case.memory[0]}G"}
        phase = "Running" if case.phase == "mid" else case.phase
        item = pod(f"p{number}", node="n", phase=phase, labels={k: v for k, v in names.items() if v}, **amounts)
        row = snapshot.set_pod(item)
        snapshot.set_pod_usage(row, case.cpu[1] * CORE, case.memory[1] * GB)
        if case.cpu[1] == case.cpu[1]:
            used = [used[0] + case.cpu[1], used[1] + case.memory[1]]
    snapshot.set_node_usage(0, used[0] * CORE, used[1] * GB, NOW - 30)
    return snapshot


def spec_of(**values: Any) -> ReclaimSpec:
    return msgspec.convert(
        {"cpuReclaimThresholdPercent": 65, "memoryReclaimThresholdPercent": 65} | values, ReclaimSpec
    )


def plan(
    snapshot: ClusterSnapshot, now: float = NOW, memory: ReclaimMemory | None = None, **values: Any
) -> tuple[Plan, ReclaimMemory]:
    return Reclaim().plan(snapshot, spec_of(**values), memory or ReclaimMemory(), now)


def only(found: Plan) -> SetNodeResources:
    (action,) = found.actions
    assert isinstance(action, SetNodeResources)
    return action


def apply(snapshot: ClusterSnapshot, found: Plan) -> None:
    for action in found.actions:
        assert isinstance(action, SetNodeResources)
        snapshot.set_node_resources(snapshot.nodes.by_name[action.target.name], action.resources)


@pytest.mark.parametrize(("values", "pods", "of_node", "expected"), CASES.values(), ids=CASES)
def test_batch_resources_of_a_snapshot_are_koordinators(
    values: dict[str, Any], pods: list[Case], of_node: dict[str, Any], expected: tuple[int, int]
) -> None:
    action = only(plan(cluster(pods, **of_node), **values)[0])
    assert (action.resources[BATCH_CPU], action.resources[BATCH_MEMORY]) == (expected[0] * CORE, expected[1] * GB)
    assert (str(action.target), action.target.uid, action.reason.code) == ("Node n", "uid-n", "Reclaimed")
    assert (action.expected.money_per_hour, action.concerns()) == (0.0, ())


def test_the_reason_holds_the_sum_of_every_resource() -> None:
    action = only(plan(cluster([A, B, C]), midUnallocatedPercent=10)[0])
    assert action.reason.message == (
        "kubernetes.io/batch-cpu 25000 = capacity 100000 - margin 35000 - system or reserved 7000"
        " - high-priority pods 33000 (by usage), not below 0; "
        "kubernetes.io/mid-cpu 5300 = the smaller of what prod pods will not use 0 and unused 50000"
        " + 10 % of unallocated 53000, at most 100 % of capacity; "
        "kubernetes.io/batch-memory 33000000000 = capacity 120000000000 - margin 42000000000"
        " - system or reserved 12000000000 - high-priority pods 33000000000 (by usage), not below 0; "
        "kubernetes.io/mid-memory 4800000000 = the smaller of what prod pods will not use 0 and unused 65000000000"
        " + 10 % of unallocated 48000000000, at most 100 % of capacity"
    )


def test_static_mid_resources_are_a_part_of_capacity() -> None:
    values: dict[str, Any] = {
        "midReclaimMode": "static",
        "midStaticCPUReservedPercent": 20,
        "midStaticMemoryReservedPercent": 10,
    }
    action = only(plan(cluster([A]), **values)[0])
    assert (action.resources[MID_CPU], action.resources[MID_MEMORY]) == (20 * CORE, 12 * GB)
    assert "kubernetes.io/mid-cpu 20000 = 20 % of capacity 100000, at most 100 % of capacity" in action.reason.message


def not_ready(snapshot: ClusterSnapshot) -> None:
    status = o.NodeStatus(
        allocatable={"cpu": "100", "memory": "120G", BATCH_CPU: "25000"},
        conditions=(o.NodeCondition(type="Ready", status="False"),),
    )
    snapshot.set(o.Node(o.Metadata(name="n"), status=status))


def unmeasured(snapshot: ClusterSnapshot) -> None:
    snapshot.set_node_usage(0, nan, nan, nan)


def stale(snapshot: ClusterSnapshot) -> None:
    snapshot.set_node_usage(0, 10.0 * CORE, 10.0 * GB, NOW - 15 * 60 - 1)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (unmeasured, "Degraded", "removed: the node has no metric"),
        (stale, "Degraded", "removed: the node's metric is 901 s old, more than 15 min"),
        (not_ready, "NotReady", "removed: the node is not ready"),
    ],
    ids=["without a metric", "with an old metric", "not ready"],
)
def test_a_node_that_is_not_known_well_loses_what_it_offered(change: Any, code: str, message: str) -> None:
    snapshot = cluster([A, B, C])
    first, memory = plan(snapshot)
    apply(snapshot, first)
    change(snapshot)
    second, memory = plan(snapshot, memory=memory)
    action = only(second)
    assert action.resources == dict.fromkeys((BATCH_CPU, MID_CPU, BATCH_MEMORY, MID_MEMORY))
    assert (action.reason.code, action.reason.message) == (code, message)
    apply(snapshot, second)
    third, _ = plan(snapshot, memory=memory)
    assert third.actions == ()
    assert [(each.reason.code, each.target.name) for each in third.declined] == [(code, "n")]


def test_reclaiming_is_switched_off_on_one_node() -> None:
    annotations = {"node.koordinator.sh/colocation-strategy": '{"enable": false}'}
    found, _ = plan(cluster([A], annotations=annotations))
    assert found.actions == ()
    assert [each.reason.code for each in found.declined] == ["Disabled"]


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("node.koordinator.sh/reservation", '{"resources": {"cpu": "two"}}', "a Kubernetes quantity"),
        ("node.koordinator.sh/reservation", '{"reservedCPUs": "3-x"}', "a list of CPUs such as 0-3,8"),
        ("node.koordinator.sh/reservation", "none", "JSON such as"),
        (
            "node.koordinator.sh/colocation-strategy",
            '{"cpuReclaimThresholdPercent": 9999}',
            "an integer from 0 to 1000",
        ),
    ],
)
def test_metadata_that_is_not_accepted_is_named_and_the_rest_holds(key: str, value: str, accepted: str) -> None:
    found, _ = plan(cluster([A, B, C], annotations={key: value}))
    assert only(found).resources[BATCH_CPU] == 25 * CORE
    (note,) = found.declined
    assert (note.target.name, note.reason.code) == ("n", "NotAccepted")
    assert key in note.reason.message
    assert accepted in note.reason.message


@pytest.mark.parametrize(
    "values",
    [
        {"cpuReclaimThresholdPercent": 9999},
        {"cpuReclaimThreshold": 1},
        {"nodeConfigs": [{"nodeSelector": {}, "cpuReclaimThresholdPercent": -1}]},
        {"nodeConfigs": [{"nodeSelector": 5}]},
        {"cpuPercentile": 0},
        {"trainingIntervalSeconds": -1},
    ],
)
def test_a_spec_that_is_not_accepted_is_no_spec(values: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, ReclaimSpec)


# -- when something is written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "more", "written"),
    [
        (60.0, 0.0, False),
        (60.0, 2.0, False),
        (60.0, 3.0, True),
        (301.0, 2.0, True),
        (301.0, 0.0, False),
    ],
    ids=["the same", "a little less", "less by more than a tenth", "a little less, for long", "the same, for long"],
)
def test_a_node_is_written_when_it_matters(after: float, more: float, *, written: bool) -> None:
    snapshot = cluster([A, B, C])
    first, memory = plan(snapshot)
    apply(snapshot, first)
    snapshot.set_node_usage(0, (50 + more) * CORE, 55.0 * GB, NOW + after)
    second, memory = plan(snapshot, NOW + after, memory)
    assert [action.resources[BATCH_CPU] for action in second.actions if isinstance(action, SetNodeResources)] == (
        [int(25 - more) * CORE] if written else []
    )
    assert memory.written == {"n": NOW + after if written else NOW}


def test_nothing_left_is_written_once() -> None:
    snapshot = cluster([A, B, C])
    values: dict[str, Any] = {"cpuReclaimThresholdPercent": 0, "memoryReclaimThresholdPercent": 0}
    first, memory = plan(snapshot, **values)
    assert only(first).resources[BATCH_CPU] == 0
    apply(snapshot, first)
    snapshot.set_node_usage(0, 50.0 * CORE, 55.0 * GB, NOW + 1000)
    assert plan(snapshot, NOW + 1000, memory, **values)[0].actions == ()


def test_a_node_that_left_is_forgotten() -> None:
    snapshot = cluster([A])
    _, memory = plan(snapshot)
    snapshot.remove("Node", "n")
    assert plan(snapshot, memory=memory)[1].written == {}


# -- predicted peaks ---------------------------------------------------------------------------------------------------


def predictor_cluster(cpu: str) -> ClusterSnapshot:
    """The node of koordinator's peak_predictor_test.go: a young pod and an old one, 3 GiB."""
    snapshot = ClusterSnapshot()
    snapshot.set(node("n", cpu=cpu, memory="3Gi"))
    for name, request, memory in (("young", "1", "1Gi"), ("old", "2", "2Gi")):
        snapshot.set(pod(name, node="n", owner=("StatefulSet", name), cpu=request, memory=memory))
    return snapshot


def measure(snapshot: ClusterSnapshot, time: float, *, young: tuple[int, int], old: tuple[int, int]) -> None:
    """(milli, bytes) of the two pods; the system takes 300m and 512 MiB."""
    pods = snapshot.pods.by_key["default/young"], snapshot.pods.by_key["default/old"]
    for row, used in zip(pods, (young, old), strict=True):
        snapshot.set_pod_usage(row, *used)
    snapshot.set_node_usage(0, young[0] + old[0] + 300, young[1] + old[1] + 512 * MIB, time)


@pytest.mark.parametrize(("cpu", "expected"), [("3", 1450), ("1", 0)], ids=["roomy", "small"])
def test_mid_resources_are_what_warm_prod_pods_will_not_use(cpu: str, expected: int) -> None:
    snapshot, memory, policy = predictor_cluster(cpu), ReclaimMemory(), Reclaim()
    spec = spec_of(coldStartSeconds=HOUR)
    snapshot.pods.created[:2] = NOW + 1.5 * HOUR, NOW - DAY
    found: dict[str, int | None] = {}
    for minute in range(0, 121, 5):
        now = NOW + minute * 60
        measure(snapshot, now, young=(480, 500 * MIB), old=(480, 900 * MIB))
        result, memory = policy.plan(snapshot, spec, memory, now)
        apply(snapshot, result)
        found = only(result).resources if result.actions else found
    # Two hours on, "old" has an hour of history and is older than that; "young" is not. Buckets are 5 % wide.
    mid = found[MID_CPU]
    assert mid is not None
    assert mid == pytest.approx(expected, rel=0.05)


def test_a_new_pod_of_a_known_workload_is_cold_until_it_is_old_enough() -> None:
    snapshot, memory, policy, spec = predictor_cluster("3"), ReclaimMemory(), Reclaim(), spec_of(coldStartSeconds=HOUR)
    snapshot.pods.created[:2] = NOW
    amounts = []
    for minute in range(0, 80, 10):
        now = NOW + minute * 60
        measure(snapshot, now, young=(500, 500 * MIB), old=(500, 900 * MIB))
        result, memory = policy.plan(snapshot, spec, memory, now)
        apply(snapshot, result)
        row = snapshot.resource_row(MID_CPU)
        amounts.append(int(snapshot.nodes.allocatable[row, 0]) if row is not None else 0)
    assert amounts[:7] == [0] * 7
    assert amounts[7] > 1000


def test_histories_are_trained_once_a_minute() -> None:
    snapshot, policy, memory = predictor_cluster("3"), Reclaim(), ReclaimMemory()
    times = []
    for second in range(0, 150, 30):
        measure(snapshot, NOW + second, young=(500, MIB), old=(500, MIB))
        _, memory = policy.plan(snapshot, spec_of(), memory, NOW + second)
        times.append(memory.trained)
    assert times == [NOW, NOW, NOW + 60, NOW + 60, NOW + 120]


def test_a_bare_pod_and_each_workload_have_a_history_and_unmeasured_ones_none() -> None:
    snapshot = predictor_cluster("3")
    snapshot.set(pod("bare", node="n", owner=None, cpu="1", memory="1Gi"))
    snapshot.set(pod("dark", node="n", owner=("Job", "dark"), cpu="1", memory="1Gi"))
    snapshot.set_pod_usage(snapshot.pods.by_key["default/bare"], 100.0, float(MIB))
    measure(snapshot, NOW, young=(500, MIB), old=(500, MIB))
    _, memory = plan(snapshot)
    assert memory.history is not None
    assert sorted(memory.history.keys) == [
        "Pod default/bare",
        "StatefulSet default/old",
        "StatefulSet default/young",
        "node/n/prod",
        "node/n/system",
    ]


def test_other_half_lives_begin_a_new_history() -> None:
    snapshot = predictor_cluster("3")
    measure(snapshot, NOW, young=(500, MIB), old=(500, MIB))
    _, memory = plan(snapshot)
    _, memory = plan(snapshot, NOW + 120, memory, cpuHalfLifeSeconds=3600)
    assert memory.history is not None
    assert set(memory.history.first_seen) == {NOW + 120}


# -- properties --------------------------------------------------------------------------------------------------------

usages = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(0, 3 * GIB), st.integers(1, 1200), st.sampled_from("abcd-")),
    min_size=3,
    max_size=12,
)


def live(steps: list[tuple[int, int, int, str]], restarts: Mapping[int, bool]) -> tuple[list[Plan], bytes]:
    """The plans of a cluster whose pods use more and less, come and go; at some cycles the process starts anew."""
    snapshot, policy, memory, now = predictor_cluster("4"), Reclaim(), ReclaimMemory(), NOW
    snapshot.pods.created[:2] = NOW - DAY
    plans = []
    for cycle, (cpu, size, pause, event) in enumerate(steps):
        now += pause
        if event in "abc":
            snapshot.set(pod(event, node="n", cpu="1", memory="1Gi"))
        if event == "d":
            snapshot.remove("Pod", "a", "default")
        measure(snapshot, now if event != "-" else now - 1000, young=(cpu, size), old=(cpu // 2, size // 2))
        if restarts.get(cycle):
            policy = Reclaim()
            loop = restore(checkpoint(LoopMemory({"reclaim": memory})), {"reclaim": policy})
            memory = loop.policies["reclaim"]
        found, memory = policy.plan(snapshot, spec_of(coldStartSeconds=600), memory, now)
        plans.append(found)
        apply(snapshot, found)
        again, _ = Reclaim().plan(snapshot, spec_of(coldStartSeconds=600), memory, now)
        assert again.actions == ()
    return plans, checkpoint(LoopMemory({"reclaim": memory}))


@settings(max_examples=40)
@given(usages, st.dictionaries(st.integers(0, 11), st.booleans()))
def test_a_restart_between_any_two_cycles_changes_no_plan_and_an_applied_plan_is_done(
    steps: list[tuple[int, int, int, str]], restarts: dict[int, bool]
) -> None:
    assert live(steps, restarts) == live(steps, {})


def test_an_empty_cluster_gives_an_empty_plan() -> None:
    found, memory = plan(ClusterSnapshot())
    assert (found.actions, found.declined, memory.written) == ((), (), {})
