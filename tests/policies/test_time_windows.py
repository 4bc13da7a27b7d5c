"""Offline work stops and goes by the clock and by the load, gently, in order, and none of it starves."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.loop import LoopMemory, checkpoint, restore
from neaptide.model import objects as o
from neaptide.model.actions import Plan, Resume, Suspend
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.model.workloads import QUEUE, SUSPEND_RUNNING, SUSPENDED_REPLICAS
from neaptide.policies.time_windows import LongestWait, TimeWindows, TimeWindowsMemory
from neaptide.policies.time_windows_spec import TimeWindowsSpec

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = {"schedule": "0 22 * * *", "timeZone": "Europe/Berlin", "durationSeconds": 8 * 3600}
CLOSED_AT = datetime(2026, 6, 10, 6, 0, tzinfo=BERLIN).timestamp()
OPEN_AT = datetime(2026, 6, 10, 22, 0, tzinfo=BERLIN).timestamp()
BATCH = {"koordinator.sh/priority-class": "koord-batch"}
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class Cluster:
    """Jobs that do what they are told at once; `now` is the time of the next cycle."""

    def __init__(self, now: float, **rule: Any) -> None:
        self.snapshot, self.now, self.memory, self.policy = ClusterSnapshot(), now, TimeWindowsMemory(), TimeWindows()
        self.snapshot.set(node("n", cpu="100", memory="100Gi"))
        self.spec = msgspec.convert({"rules": [{"windows": [NIGHT]} | rule]}, TimeWindowsSpec)
        self.jobs: dict[str, dict[str, Any]] = {}

    def job(self, name: str, **about: Any) -> None:
        """A job with one pod. `about`: pod (Running, Pending, or None), labels (of the pod), priority, created (seconds
        before now), suspended, meta (labels of the job), annotations, owner, template, uid, pod_annotations, started.
        """
        defaults: dict[str, Any] = {"pod": "Running", "labels": BATCH, "created": HOUR, "suspended": False}
        defaults["annotations"] = {SUSPEND_RUNNING: "true"}
        about = defaults | {"started": HOUR} | about
        about |= {"created": self.now - about["created"], "started": self.now - about["started"]}
        self.jobs[name] = about
        self._write(name)

    def _write(self, name: str) -> None:
        about = self.jobs[name]
        owner = about.get("owner")
        meta = o.Metadata(
            name=name,
            namespace=about.get("namespace", "default"),
            uid=about.get("uid", f"uid-{name}"),
            labels=about.get("meta", {}),
            annotations=about.get("annotations", {}),
            owner_references=() if owner is None else (o.OwnerReference(kind="CronJob", name=owner, controller=True),),
            creation_timestamp=timestamp(about["created"]),
        )
        conditions = tuple(o.Condition(type=each, status="True") for each in about.get("conditions", ()))
        spec = o.WorkloadSpec(
            suspend=about["suspended"], template=about.get("template"), managed_by=about.get("managed_by")
        )
        self.snapshot.set(o.Workload("Job", meta, spec, o.WorkloadStatus(conditions=conditions)))
        key = f"{meta.namespace}/{name}-0"
        if about["suspended"] or about["pod"] is None:
            self.snapshot.remove_pod(key)
            return
        running = about["pod"] == "Running"
        item = pod(
            f"{name}-0",
            namespace=meta.namespace,
            node="n" if running else "",
            owner=("Job", name),
            labels=about["labels"],
            annotations=about.get("pod_annotations"),
            started=timestamp(about["started"]),
            spec={"priority": about.get("priority")},
            cpu="1",
        )
        self.snapshot.set(item)

    def cycle(self, *, after: float = 0.0, restart: bool = False) -> Plan:
        """The next plan, `after` seconds later."""
        self.now += after
        if restart:
            policies = {TimeWindows.name: TimeWindows()}
            self.policy = policies[TimeWindows.name]
            self.memory = restore(checkpoint(LoopMemory({TimeWindows.name: self.memory})), policies).policies[
                TimeWindows.name
            ]
        plan, self.memory = self.policy.plan(self.snapshot, self.spec, self.memory, self.now)
        return plan

    def obey(self, plan: Plan) -> Plan:
        """Do what a plan says."""
        for action in plan.actions:
            about = self.jobs[action.target.name]
            assert action.target.uid == about.get("uid", f"uid-{action.target.name}")
            assert about["suspended"] is isinstance(action, Resume)
            about["suspended"] = isinstance(action, Suspend)
            about["started"] = self.now
            self._write(action.target.name)
        return plan

    def finish(self, name: str) -> None:
        """A job ends and is gone."""
        about = self.jobs.pop(name)
        self.snapshot.remove_pod(f"{about.get('namespace', 'default')}/{name}-0")
        self.snapshot.remove("Job", name, about.get("namespace", "default"))


def done(plan: Plan) -> list[tuple[str, str]]:
    return [(type(action).__name__, action.target.name) for action in plan.actions]


def declined(plan: Plan) -> dict[str, str]:
    return {each.target.name: each.reason.code for each in plan.declined}


# -- closing and opening -----------------------------------------------------------------------------------------------


def test_closing_stops_starts_at_once_and_runs_after_the_grace() -> None:
    cluster = Cluster(CLOSED_AT - 1)
    cluster.job("runs")
    cluster.job("starts", pod="Pending")
    cluster.job("is-made", meta=BATCH, pod=None)
    assert cluster.cycle().actions == ()
    plan = cluster.obey(cluster.cycle(after=1))
    assert sorted(done(plan)) == [("Suspend", "is-made"), ("Suspend", "starts")]
    assert declined(plan) == {"runs": "Grace"}
    assert cluster.cycle(after=299).actions == ()
    plan = cluster.obey(cluster.cycle(after=1))
    assert done(plan) == [("Suspend", "runs")]
    (action,) = plan.actions
    assert isinstance(action, Suspend)
    assert (action.pods, action.reason.code, action.expected.risk) == (1, "Closed", 0.2)
    assert action.reason.message == "the rule rules[0] is closed: its next window opens at 2026-06-10T20:00:00Z"


def test_opening_lets_all_go_on() -> None:
    cluster = Cluster(OPEN_AT - 1)
    for name in ("a", "b"):
        cluster.job(name, suspended=True, meta=BATCH)
    plan = cluster.cycle()
    assert plan.actions == ()
    assert declined(plan) == {"a": "Waiting", "b": "Waiting"}
    assert plan.declined[0].reason.message == (
        "it has waited 3600 s: the rule rules[0] is closed: its next window opens at 2026-06-10T20:00:00Z"
    )
    plan = cluster.obey(cluster.cycle(after=1))
    assert done(plan) == [("Resume", "a"), ("Resume", "b")]
    assert {action.reason.message for action in plan.actions} == {
        "the rule rules[0] is open until 2026-06-11T04:00:00Z"
    }
    assert cluster.cycle().actions == ()


def test_work_is_suspended_from_the_least_important_on() -> None:
    cluster = Cluster(CLOSED_AT, graceSeconds=0, maxPerCycle=2)
    free = {"koordinator.sh/priority-class": "koord-free"}
    cluster.job("low", priority=5100)
    cluster.job("late", priority=5500, started=10 * MINUTE)
    cluster.job("early", priority=5500, started=20 * MINUTE)
    cluster.job("free", labels=free, priority=9000)
    cluster.job("pending", priority=5900, pod="Pending")
    order = []
    while (plan := cluster.obey(cluster.cycle())).actions:
        order += [action.target.name for action in plan.actions]
        assert len(plan.actions) <= 2
        assert set(declined(plan).values()) <= {"BoundOfCycle", "Waiting"}
    assert order == ["pending", "free", "low", "late", "early"]


def test_work_goes_on_by_priority_and_age() -> None:
    cluster = Cluster(OPEN_AT, maxPerCycle=1, agingSecondsPerPoint=10)
    template = {each: o.PodTemplate(o.Metadata(labels=BATCH), o.TemplateSpec(priority=each)) for each in (5000, 5500)}
    cluster.job("high", suspended=True, template=template[5500], created=MINUTE)
    cluster.job("old", suspended=True, template=template[5000], created=MINUTE + 5010)
    cluster.job("low", suspended=True, template=template[5000], created=MINUTE)
    cluster.job("overdue", suspended=True, template=template[5000], created=25 * HOUR)
    order = []
    while (plan := cluster.obey(cluster.cycle())).actions:
        order += done(plan)
    assert [name for _, name in order] == ["overdue", "old", "high", "low"]


def test_a_job_that_runs_is_suspended_only_with_its_consent() -> None:
    cluster = Cluster(CLOSED_AT, graceSeconds=0)
    cluster.job("runs", annotations={})
    cluster.job("waits", annotations={}, pod="Pending")
    cluster.job("agrees")
    plan = cluster.cycle()
    assert sorted(done(plan)) == [("Suspend", "agrees"), ("Suspend", "waits")]
    assert declined(plan) == {"runs": "NoConsent"}


@pytest.mark.parametrize("managed", [{"meta": BATCH | {QUEUE: "team-a"}}, {"managed_by": "kueue.x-k8s.io/multikueue"}])
def test_a_job_that_kueue_manages_is_left_alone(managed: dict[str, Any]) -> None:
    cluster = Cluster(CLOSED_AT, graceSeconds=0)
    cluster.job("queued", **managed)
    cluster.job("held-by-kueue", suspended=True, **managed)
    assert (cluster.cycle().actions, declined(cluster.cycle())) == ((), {})


def test_a_protected_job_goes_on() -> None:
    cluster = Cluster(CLOSED_AT, graceSeconds=0)
    cluster.job("kept", pod_annotations={"karpenter.sh/do-not-disrupt": "true"})
    plan = cluster.cycle()
    assert (plan.actions, declined(plan)) == ((), {"kept": "DoNotDisrupt"})


def test_nothing_is_resumed_shortly_before_closing() -> None:
    cluster = Cluster(CLOSED_AT - 299)
    cluster.job("a", suspended=True, meta=BATCH)
    plan = cluster.cycle()
    assert (plan.actions, declined(plan)) == ((), {"a": "TooLate"})


def test_a_job_starts_only_if_its_owners_earlier_runs_fit_before_closing() -> None:
    cluster = Cluster(OPEN_AT)
    cluster.snapshot.set(o.Workload("CronJob", o.Metadata(name="report", namespace="default")))
    cluster.job("report-1", owner="report", started=0)
    cluster.cycle()
    cluster.cycle(after=2 * HOUR)
    cluster.finish("report-1")
    cluster.cycle(after=MINUTE)
    cluster.job("report-2", owner="report", suspended=True, meta=BATCH)
    cluster.job("other", suspended=True, meta=BATCH)
    cluster.now = CLOSED_AT + DAY - 2 * HOUR
    plan = cluster.cycle()
    assert (done(plan), declined(plan)) == ([("Resume", "other")], {"report-2": "TooLate"})
    cluster.now = CLOSED_AT + DAY - 2 * HOUR - 2 * MINUTE
    assert ("Resume", "report-2") in done(cluster.cycle())
    cluster.snapshot.remove("CronJob", "report", "default")
    cluster.cycle()
    assert cluster.memory.runs == {}


# -- what a rule is about ----------------------------------------------------------------------------------------------

SELECTED: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "band batch": ({}, {}, True),
    "band free by its pods' priority": ({}, {"labels": {}, "priority": 3500}, True),
    "labelled BE": ({}, {"labels": {"koordinator.sh/qosClass": "BE"}}, True),
    "a job that says nothing is prod": ({}, {"labels": {}}, False),
    "any job of a namespace": ({"namespaces": ["default"]}, {"labels": {}}, True),
    "of another namespace": ({"namespaces": ["research"]}, {}, False),
    "any job with a label": ({"labels": {"team": "x"}}, {"labels": {"team": "x"}}, True),
    "with a label of its own": ({"labels": {"team": "x"}}, {"labels": {}, "meta": {"team": "x"}}, True),
    "with another label": ({"labels": {"team": "x"}}, {"labels": {"team": "y"}}, False),
    "of other bands": ({"bands": ["mid"]}, {}, False),
    "of these bands": ({"bands": ["mid", "batch"]}, {}, True),
    "of a namespace and other bands": ({"namespaces": ["default"], "bands": ["mid"]}, {}, False),
    "of another kind": ({"kinds": ["Deployment"]}, {}, False),
    "held": ({}, {"annotations": {"neaptide.io/hold": "true"}}, False),
    "complete": ({}, {"conditions": ["Complete"]}, False),
    "failed": ({}, {"conditions": ["Failed"]}, False),
}


@pytest.mark.parametrize(("selector", "about", "expected"), SELECTED.values(), ids=SELECTED)
def test_a_rule_is_about_what_it_selects(selector: dict[str, Any], about: dict[str, Any], *, expected: bool) -> None:
    cluster = Cluster(CLOSED_AT, selector=selector, graceSeconds=0)
    cluster.job("a", **about)
    assert done(cluster.cycle()) == ([("Suspend", "a")] if expected else [])


def test_of_several_rules_the_first_counts() -> None:
    cluster = Cluster(CLOSED_AT)
    rules = [
        {
            "name": "research",
            "selector": {"labels": {"team": "x"}},
            "windows": [{"schedule": "0 0 * * *", "durationSeconds": DAY}],
        },
        {"name": "all", "windows": [NIGHT]},
    ]
    cluster.spec = msgspec.convert({"rules": rules}, TimeWindowsSpec)
    cluster.job("x", labels=BATCH | {"team": "x"}, pod="Pending")
    cluster.job("y", pod="Pending")
    assert done(cluster.cycle()) == [("Suspend", "y")]
    assert {name: each.rule for name, each in cluster.memory.jobs.items()} == {
        "Job default/x": "research",
        "Job default/y": "all",
    }


def test_what_a_suspended_jobs_pods_were_is_remembered() -> None:
    cluster = Cluster(CLOSED_AT, graceSeconds=0)
    cluster.job("a", labels={}, priority=3300)
    cluster.obey(cluster.cycle())
    assert done(cluster.cycle(after=OPEN_AT - CLOSED_AT, restart=True)) == [("Resume", "a")]


def test_a_deployment_is_suspended_by_its_annotation_and_waits_from_then_on() -> None:
    cluster = Cluster(CLOSED_AT, selector={"kinds": ["Deployment"]}, graceSeconds=0, deadlineSeconds=HOUR)

    def write(*, suspended: bool) -> None:
        annotations = {SUSPENDED_REPLICAS: "3"} if suspended else {}
        meta = o.Metadata(
            name="w", namespace="default", annotations=annotations, creation_timestamp="2020-01-01T00:00:00Z"
        )
        cluster.snapshot.set(o.Workload("Deployment", meta))
        if suspended:
            cluster.snapshot.remove_pod("default/w-0")
        else:
            labels = BATCH | {"pod-template-hash": "abc"}
            cluster.snapshot.set(pod("w-0", node="n", owner=("ReplicaSet", "w-abc"), labels=labels, cpu="1"))

    write(suspended=False)
    assert done(cluster.cycle()) == [("Suspend", "w")]
    write(suspended=True)
    assert declined(cluster.cycle(after=MINUTE)) == {"w": "Waiting"}
    assert declined(cluster.cycle(after=HOUR - 1)) == {"w": "Waiting"}
    plan = cluster.cycle(after=1)
    assert [(type(each).__name__, each.reason.code) for each in plan.actions] == [("Resume", "DeadlinePassed")]
    write(suspended=False)
    assert cluster.cycle(after=MINUTE).actions == ()
    cluster.now = OPEN_AT
    assert cluster.cycle().actions == ()
    cluster.now = CLOSED_AT + DAY
    assert done(cluster.cycle()) == [("Suspend", "w")]


# -- valleys -----------------------------------------------------------------------------------------------------------


def valley(**changes: Any) -> Cluster:
    """A cluster of 100 cores with a service of 40 pods that request a core each, and a job."""
    cluster = Cluster(
        CLOSED_AT, windows=[], valley={"watermark": 0.3, "hysteresis": 0.1, "minimumSeconds": 600} | changes
    )
    for number in range(40):
        cluster.snapshot.set(pod(f"web-{number}", node="n", cpu="1", memory="1Gi"))
    cluster.job("a", suspended=True, meta=BATCH)
    return cluster


def use(cluster: Cluster, cores: float | None, *, age: float = 0.0) -> None:
    """What the service uses, measured `age` seconds ago."""
    for number in range(40):
        row = cluster.snapshot.pods.by_key[f"default/web-{number}"]
        cluster.snapshot.set_pod_usage(row, float("nan") if cores is None else cores * 1000 / 40, 2.0**30)
    cluster.snapshot.set_node_usage(0, 50_000.0, 2.0**36, cluster.now - age)


def test_a_valley_opens_when_the_load_has_been_low_for_long_enough() -> None:
    cluster, seen = valley(), []
    for cores in (35, 25, 25, 39, 41, 25, 25, 25, 39, 41):
        use(cluster, cores)
        seen.append([kind for kind, _ in done(cluster.obey(cluster.cycle()))])
        cluster.now += 300
    # Low from the 2nd on, up to the 4th within the hysteresis: opens 600 s later; above it for the 5th.
    assert seen == [[], [], [], ["Resume"], [], ["Suspend"], [], ["Resume"], [], []]


def test_a_valleys_reasons_say_the_load() -> None:
    cluster = valley(minimumSeconds=0)
    use(cluster, 35)
    assert "the load is 35%, a valley begins below 30%" in cluster.cycle().declined[0].reason.message
    use(cluster, 20)
    (action,) = cluster.cycle().actions
    assert (action.reason.code, action.reason.message) == (
        "Valley",
        "the load is 20%, and the rule rules[0] is open in valleys",
    )


@pytest.mark.parametrize(
    ("cores", "age", "opens"),
    [(20, 0, True), (None, 0, False), (20, 901, False)],
    ids=["measured", "without metrics", "with an old metric"],
)
def test_unknown_usage_counts_at_the_request(cores: float | None, age: float, *, opens: bool) -> None:
    cluster = valley(minimumSeconds=0)
    use(cluster, cores, age=age)
    assert bool(cluster.cycle().actions) is opens


def test_offline_work_does_not_close_its_own_valley() -> None:
    cluster = valley(minimumSeconds=0)
    use(cluster, 20)
    cluster.obey(cluster.cycle())
    cluster.snapshot.set_pod_usage(cluster.snapshot.pods.by_key["default/a-0"], 60_000.0, 1.0)
    assert cluster.cycle(after=MINUTE).actions == ()


def test_no_ready_node_is_no_valley() -> None:
    cluster = valley(minimumSeconds=0)
    cluster.snapshot.remove("Node", "n")
    plan = cluster.cycle()
    assert "the load is unknown" in plan.declined[0].reason.message


# -- daylight saving ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "until"),
    [((2026, 3, 28), 7), ((2026, 10, 24), 5), ((2026, 6, 1), 6)],
    ids=["the night that is an hour short", "the night that is an hour long", "any night"],
)
def test_windows_hold_through_changes_of_the_clock(day: tuple[int, int, int], until: int) -> None:
    start = datetime(*day, 12, 0, tzinfo=BERLIN)
    cluster = Cluster(start.timestamp(), graceSeconds=0, deadlineSeconds=None)
    cluster.job("a")
    ran = []
    for _ in range(24 * 4):
        cluster.obey(cluster.cycle(after=15 * MINUTE))
        if not cluster.jobs["a"]["suspended"]:
            ran.append(cluster.now)
    assert datetime.fromtimestamp(ran[0], BERLIN).hour == 22
    assert datetime.fromtimestamp(ran[-1] + 15 * MINUTE, BERLIN).strftime("%H:%M") == f"{until:02}:00"
    assert len(ran) == 8 * 4


# -- nothing starves ---------------------------------------------------------------------------------------------------


def test_after_its_deadline_a_job_runs_in_any_case_and_is_not_suspended_again() -> None:
    cluster = Cluster(CLOSED_AT, graceSeconds=0, deadlineSeconds=2 * HOUR)
    cluster.job("a", created=HOUR)
    cluster.obey(cluster.cycle())
    assert declined(cluster.cycle(after=HOUR - 1)) == {"a": "Waiting"}
    plan = cluster.obey(cluster.cycle(after=1))
    (action,) = plan.actions
    assert (action.reason.code, action.reason.message) == (
        "DeadlinePassed",
        "it has waited 7200 s, longer than the rule rules[0] lets it",
    )
    for _ in range(48):
        assert cluster.cycle(after=HOUR).actions == ()


def test_the_longest_wait_is_remembered() -> None:
    cluster = Cluster(CLOSED_AT)
    cluster.job("a", suspended=True, meta=BATCH, created=HOUR)
    cluster.job("b", suspended=True, meta=BATCH, created=2 * HOUR)
    cluster.cycle()
    cluster.finish("b")
    cluster.cycle()
    assert cluster.memory.longest_wait == LongestWait(2 * HOUR, "Job default/b")
    cluster.spec = TimeWindowsSpec()
    assert cluster.cycle() == Plan(TimeWindows.name)
    assert cluster.memory.longest_wait.seconds == 2 * HOUR


arrivals = st.lists(st.tuples(st.integers(0, 40), st.integers(3000, 9999)), min_size=1, max_size=15)


@settings(max_examples=40)
@given(arrivals, st.integers(1, 4), st.integers(1, 20))
def test_no_job_waits_longer_than_its_deadline_and_the_cycles_that_those_before_it_need(
    jobs: list[tuple[int, int]], at_once: int, hours: int
) -> None:
    never = {"schedule": "0 0 1 1 *", "durationSeconds": 1}
    cluster = Cluster(CLOSED_AT, windows=[never], deadlineSeconds=hours * HOUR, maxPerCycle=at_once, graceSeconds=0)
    cluster.spec = msgspec.convert(msgspec.to_builtins(cluster.spec), TimeWindowsSpec)
    first_run: dict[str, float] = {}
    for step in range(0, (hours + 2) * 60 + 60, 10):
        for number, (minute, priority) in enumerate(jobs):
            if minute // 10 * 10 == step:
                cluster.job(f"j{number}", pod="Pending", priority=priority, created=0, labels=BATCH)
        plan = cluster.obey(cluster.cycle())
        for action in plan.actions:
            if isinstance(action, Resume):
                first_run.setdefault(action.target.name, cluster.now - cluster.jobs[action.target.name]["created"])
        cluster.now += 10 * MINUTE
    backlog = -(-len(jobs) // at_once) * 10 * MINUTE
    waits = {name: first_run.get(name, 0.0 if not about["suspended"] else DAY) for name, about in cluster.jobs.items()}
    assert max(waits.values()) <= hours * HOUR + backlog


# -- properties --------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from((60, 600, 3600, 7200)), st.integers(0, 60), st.sampled_from(("new", "end", "none", "old"))
    ),
    min_size=3,
    max_size=25,
)


def live(events: list[tuple[int, int, str]], restarts: frozenset[int], **rule: Any) -> tuple[list[Plan], bytes]:
    """The plans of a cluster where jobs come and go and the load changes; each plan is obeyed."""
    cluster = valley()
    cluster.spec = msgspec.convert(
        {"rules": [{"windows": [NIGHT], "valley": {"watermark": 0.3}, "deadlineSeconds": 6 * HOUR} | rule]},
        TimeWindowsSpec,
    )
    plans = []
    for index, (pause, cores, event) in enumerate(events):
        cluster.now += pause
        if event == "new":
            cluster.job(f"n{index}", created=0, started=0, pod="Running" if index % 2 else "Pending")
        if event == "old":
            cluster.job(f"o{index}", created=DAY, owner="cron", meta=BATCH, suspended=bool(index % 2))
        if event == "end" and cluster.jobs:
            cluster.finish(next(iter(cluster.jobs)))
        use(cluster, cores or None)
        plans.append(cluster.obey(cluster.cycle(restart=index in restarts)))
        assert cluster.cycle().actions == ()
    return plans, checkpoint(LoopMemory({TimeWindows.name: cluster.memory}))


@settings(max_examples=60)
@given(steps, st.frozensets(st.integers(0, 24)))
def test_a_plan_that_was_carried_out_leaves_nothing_to_do_and_a_restart_changes_no_plan(
    events: list[tuple[int, int, str]], restarts: frozenset[int]
) -> None:
    assert live(events, restarts) == live(events, frozenset())


# -- what is not accepted ----------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, str]] = {
    "no window and no valley": ({"rules": [{}]}, r"at least one window, or a valley - at `\$.rules\[0\]`"),
    "no schedule": (
        {"rules": [{"windows": [{"schedule": "never", "durationSeconds": 1}]}]},
        r"windows\[0\]\.schedule: 'never' is not accepted; accepted: a cron expression",
    ),
    "no time zone": (
        {"rules": [{"windows": [NIGHT | {"timeZone": "Mars/Base"}]}]},
        r"windows\[0\]\.timeZone: 'Mars/Base'",
    ),
    "two rules of one name": ({"rules": [{"name": "a", "valley": {}}] * 2}, r"rules\[1\]\.name: 'a' is not accepted"),
    "a watermark above 1": ({"rules": [{"valley": {"watermark": 40}}]}, r"`\$.rules\[0\].valley.watermark`"),
    "an unknown kind": ({"rules": [{"valley": {}, "selector": {"kinds": ["Pod"]}}]}, "'Pod'"),
    "an unknown field": ({"rules": [{"valley": {}, "grace": 1}]}, "unknown field `grace`"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_a_spec_that_cannot_be_used_is_refused_with_what_is_accepted(values: Any, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(values, TimeWindowsSpec)
