"""`neaptide demo`: a mixed day on real data in three set-ups, as a table and as a report."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.cli.progress import progress
from neaptide.kube.decisions import NAME
from neaptide.records.line import segments
from neaptide.records.log import Log, LogInUseError

if TYPE_CHECKING:
    from neaptide.loop import Cycle
    from neaptide.simulator.demo import Case
    from neaptide.simulator.report.page import Report
    from neaptide.simulator.report.sections import SetUp

REPORT = "report.html"
JOURNAL = "journal"


class Row(msgspec.Struct, frozen=True):
    """What `neaptide demo --output json` says of one set-up; None where unknown."""

    set_up: str
    nodes_mean: float
    nodes_peak: float
    dollars_per_day: float | None
    cpu_use: float
    offline_core_hours: float
    jobs_finished: int
    jobs: int
    longest_wait_seconds: float
    mean_wait_seconds: float
    contention_minutes: float
    evictions: int
    evictions_of_services: int
    seconds: float


def demo(
    *,
    short: bool = False,
    directory: Path = Path("neaptide-demo"),
    seed: int = 1,
    picture: Path | None = None,
    output: Output = "table",
) -> int:
    """Run one day of the same services and jobs in two clusters, in one by requests, and with Neaptide.

    Args:
        short: a few services only, in a few seconds.
        directory: where the report and the journal of Neaptide's decisions go; made if it is not there.
        seed: which services and jobs are drawn from the packaged data.
        picture: draw the comparison as an SVG file too.
        output: table for people; json or yaml for programs.
    """
    from neaptide.simulator.demo import FULL, SHORT, cases
    from neaptide.simulator.report.page import write
    from neaptide.simulator.report.picture import picture as drawn

    if seed < 0:
        raise unacceptable("--seed", seed, "a whole number from 0 on")
    if picture is not None and not picture.parent.is_dir():
        raise unacceptable("--picture", picture, "a file in a directory that exists")
    size, path = SHORT if short else FULL, directory / REPORT
    rows, set_ups = [], []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for case in cases(seed, size):
            began = time.monotonic()
            set_ups.append(_run(case, directory / JOURNAL))
            rows.append(_row(set_ups[-1], time.monotonic() - began))
        report = report_of(set_ups, size.services, seed)
        write(report, path)
        if picture is not None:
            picture.write_text(drawn(report.title, set_ups), encoding="utf-8")
    except (OSError, LogInUseError) as error:
        raise UsageError(f"{error}; accepted: a directory and files that can be written") from error
    if output == "table":
        _print_table(set_ups)
        print(
            f"{report.lead[0]}\n\nReport: {path}\nEvery decision: neaptide explain node NAME --journal {directory / JOURNAL}"
        )
    else:
        emit({"set_ups": rows, "report": str(path)}, output)
    return OK


def _run(case: "Case", journal: Path) -> "SetUp":
    """One set-up; where there are policies, their cycles go to the journal in place of those of an earlier demo."""
    from neaptide.simulator.report.decisions import Collector
    from neaptide.simulator.report.sections import SetUp
    from neaptide.simulator.run import run

    collector = Collector()
    with ExitStack() as stack:
        done = stack.enter_context(progress(f"one day of {case.name}"))
        if case.scenario.policies:
            for old in segments(journal, NAME):
                old.path.unlink()
            log = stack.enter_context(Log(journal, NAME))

            def record(cycle: "Cycle") -> None:
                collector(cycle)
                log.append(cycle)

            result = run(case.scenario, record=record, progress=done)
        else:
            result = run(case.scenario, progress=done)
    return SetUp(name=case.name, note=case.note, result=result, decisions=collector.close(result))


def _row(set_up: "SetUp", seconds: float) -> Row:
    from neaptide.simulator.report.sections import core_hours, dollars_per_day, evicted_services

    result, summary = set_up.result, set_up.result.summary
    return Row(
        set_up=set_up.name,
        nodes_mean=summary.nodes_mean,
        nodes_peak=summary.nodes_most,
        dollars_per_day=dollars_per_day(result),
        cpu_use=summary.cpu_use_mean,
        offline_core_hours=core_hours(result),
        jobs_finished=summary.jobs_finished,
        jobs=summary.jobs_arrived,
        longest_wait_seconds=summary.longest_wait,
        mean_wait_seconds=summary.mean_wait,
        contention_minutes=summary.contention_minutes,
        evictions=summary.evictions,
        evictions_of_services=evicted_services(result),
        seconds=round(seconds, 1),
    )


def _print_table(set_ups: "list[SetUp]") -> None:
    from neaptide.simulator.report.sections import ROWS

    emit(
        [
            {"": f"{label}, {note}", **{each.name: written(each.result) for each in set_ups}}
            for label, note, written in ROWS
        ],
        title="One day of the same work",
    )


def report_of(set_ups: "list[SetUp]", services: int, seed: int) -> "Report":
    """What the report says of the demo; figures are those of the runs."""
    from neaptide.simulator.demo import ASSUMPTIONS
    from neaptide.simulator.report.page import Report
    from neaptide.simulator.report.scale import amount, duration

    last = set_ups[-1]
    summary = last.result.summary
    jobs, mean, longest = amount(summary.jobs_arrived), duration(summary.mean_wait), duration(summary.longest_wait)
    return Report(
        title="One day of the same work, three ways",
        lead=[
            f"{last.name} runs it for {_compared(set_ups)}.",
            (
                f"{services} services and {jobs} jobs drawn from public traces, at public list prices (seed {seed}). "
                f"In return offline work waits: {mean} on average, {longest} at the longest."
            ),
        ],
        set_ups=set_ups,
        assumptions=ASSUMPTIONS,
    )


def _compared(set_ups: "list[SetUp]") -> str:
    """What the last set-up costs, and how far that is from each of the others."""
    from neaptide.simulator.report.scale import dollars, percent
    from neaptide.simulator.report.sections import dollars_per_day

    *others, own = (dollars_per_day(each.result) for each in set_ups)
    parts = []
    for set_up, other in zip(set_ups, others, strict=False):
        if own is not None and other:
            less = 1 - own / other
            parts.append(
                f"{percent(abs(less))} {'less' if less >= 0 else 'more'} than {set_up.name[0].lower()}{set_up.name[1:]}"
            )
    return f"{dollars(own)} a day" + (f": {' and '.join(parts)}" if parts else "")
