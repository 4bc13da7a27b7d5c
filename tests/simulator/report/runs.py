"""Invented runs for tests of the report: a day of waves in a ledger."""

import numpy as np

from neaptide.model.actions import Ref
from neaptide.simulator.ledger import Bill, Eviction, JobRecord, Ledger, Wait
from neaptide.simulator.report.decisions import Decision
from neaptide.simulator.report.page import Report
from neaptide.simulator.report.sections import SetUp
from neaptide.simulator.run import Result, Summary

START = 1_767_571_200.0  # 2026-01-05, a Monday
HOUR = 3600.0
HOSTILE = "<script>alert('x')</script>\"&\x00\x0b]]>"


def ledger(*, scale: float = 1.0, hours: int = 24, seed: int = 0, name: str = "") -> Ledger:
    """A run in which everything rises and falls once a day; larger with `scale`."""
    random = np.random.default_rng(seed)
    found = Ledger()
    for minute in range(0, hours * 60 + 1, 5):
        wave = 1.2 + np.sin(minute / 1440 * 2 * np.pi)
        used = np.array([0.0, 20 + 10 * wave, 0.0, 100 * wave]) * 1000 * scale
        found.count("offline_cpu_seconds", used[1] / 1000 * 300)
        found.count("service_cpu_seconds", used[3] / 1000 * 300)
        found.count("contention_minutes", float(random.poisson(0.2 * scale)))
        if minute % 150 == 100:
            at, index = START + minute * 60, minute // 150
            message = f"the node's memory is at 72 %, above 70 % {name}"
            pod = f"batch/job-{index}-x{name}"
            found.evicted(
                Eviction(
                    at, pod, Ref("Job", f"job-{index}", "batch"), f"node-{index}", "node", "MemoryEvict", message, 60.0
                )
            )
        found.tick(
            time=START + minute * 60,
            nodes=np.array([20.0, np.floor(10 * wave * scale)]),
            not_ready=0.0,
            money_per_hour=15 + 8 * np.floor(wave * 10) / 10 * scale,
            cpu_capacity=(320 + 160 * np.floor(wave * 10) / 10 * scale) * 1000,
            memory_capacity=1e12,
            cpu_requested=used * 1.5,
            memory_requested=used,
            cpu_used=used,
            memory_used=used,
            cpu_requested_by_qos=np.zeros(5),
            cpu_used_by_qos=np.zeros(5),
            pending=np.array([0.0, 3.0, 0.0, 0.0]),
            running=np.array([0.0, 30.0, 0.0, 200.0]),
            longest_pending=60.0,
        )
    end = START + hours * HOUR
    for index in range(60):
        wanted = START + random.uniform(0, hours) * HOUR
        wait = random.exponential(1800)
        found.waits.append(Wait(f"Job batch/job-{index}{name}", True, wanted, wanted + wait, wait))
        found.jobs.append(JobRecord(f"job-{index}{name}", "batch", wanted, wanted, end, "Complete", 1, 1, 0))
    found.waits.append(Wait("Job batch/never", True, START + 3600, np.nan, 23 * HOUR))
    for index in range(20):
        begin = START + random.uniform(0, hours - 2) * HOUR
        found.bills.append(
            Bill(f"batch-{index}{name}", "batch", "m5.4xlarge", "on-demand", begin, begin + 2 * HOUR, 0.768, 1.536)
        )
    found.bills.append(Bill("web-1", "web", "m5.8xlarge", "on-demand", START, end, 1.536, 1.536 * hours))
    return found


def result(found: Ledger) -> Result:
    """What a run with that ledger would return; figures that nobody reads off the ledger are invented."""
    timeline = found.timeline()
    nodes = timeline.nodes.sum(axis=1)
    dollars = [each.dollars for each in found.bills if each.dollars is not None]
    summary = Summary(
        nodes_mean=float(nodes.mean()),
        nodes_most=float(nodes.max()),
        money=sum(dollars) if len(dollars) == len(found.bills) else None,
        cpu_use_mean=float(timeline.cpu_used.sum() / timeline.cpu_capacity.sum()),
        jobs_arrived=len(found.jobs),
        jobs_finished=len(found.jobs),
        offline_cpu_seconds=found.totals["offline_cpu_seconds"],
        lost_cpu_seconds=found.totals["lost_cpu_seconds"],
        longest_wait=max(each.seconds for each in found.waits),
        mean_wait=1800.0,
        contention_minutes=found.totals["contention_minutes"],
        evictions=len(found.evictions),
        events=0,
    )
    return Result(
        "invented",
        START,
        float(timeline.time[-1]),
        ("web", "batch"),
        timeline,
        summary,
        tuple(found.evictions),
        tuple(found.waits),
        tuple(found.jobs),
        tuple(found.bills),
    )


def decisions(count: int, *, name: str = "") -> list[Decision]:
    """Decisions spread over a day."""
    kinds = (
        (
            "reclaim",
            "SetNodeResources",
            "Done",
            "BatchResources",
            "batch-cpu 4120 = capacity 16000 - margin 6400 - system 480",
        ),
        (
            "time-windows",
            "Resume",
            "Done",
            "ValleyOpen",
            "the load is 41 %, below 50 %, and the run fits before it rises",
        ),
        ("time-windows", "Leave", "Left alone", "WindowClosed", "its window opens at 22:00 (0 22 * * *, UTC)"),
        ("node", "Evict", "Done", "MemoryEvict", "the node's memory is at 72 %"),
    )
    return [
        Decision(START + 24 * HOUR * row / count, by, what, f"Job batch/job-{row}{name}", result, code, reason + name)
        for row in range(count)
        for by, what, result, code, reason in [kinds[row % len(kinds)]]
    ]


def set_up(title: str, *, scale: float = 1.0, count: int = 40, name: str = "") -> SetUp:
    """An invented set-up."""
    found = ledger(scale=scale, name=name)
    return SetUp(
        name=title,
        note=f"One sentence that says what {title} is, and how it is set up.",
        result=result(found),
        decisions=decisions(count, name=name),
    )


def report(*, name: str = "", count: int = 40) -> Report:
    """A report on three set-ups; `name` is added to everything that has a name."""
    set_ups = [
        set_up("Two clusters" + name, scale=1.6, count=4, name=name),
        set_up("By requests" + name, scale=1.2, count=4, name=name),
        set_up("Neaptide" + name, scale=0.6, count=count, name=name),
    ]
    return Report(
        title="A mixed day" + name,
        lead=["The same work cost $512 a day: 43 % less than in two clusters, 21 % less than by requests." + name],
        set_ups=set_ups,
        assumptions=["Prices are public list prices." + name, "Replicas are constant."],
    )
