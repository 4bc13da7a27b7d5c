"""`neaptide simulate`: a scenario from its YAML to its figures, its journal and its report."""

from contextlib import ExitStack
from pathlib import Path

from neaptide.cli.costs import read_catalogue
from neaptide.cli.exits import OK, PARTIAL, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.cli.progress import progress
from neaptide.kube.decisions import NAME
from neaptide.loop import Cycle
from neaptide.model.problems import FieldError
from neaptide.model.times import timestamp
from neaptide.records.log import Log, LogInUseError
from neaptide.simulator.report.decisions import Collector
from neaptide.simulator.report.page import Report, write
from neaptide.simulator.report.sections import SetUp
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import Scenario, parse


def simulate(
    scenario: str,
    /,
    *,
    report: str | None = None,
    journal: str | None = None,
    prices: str | None = None,
    output: Output = "table",
) -> int:
    """Run a scenario and print what came out.

    Args:
        scenario: the scenario, as YAML.
        report: write a report of the run, one HTML file that needs nothing else, to this file.
        journal: write every decision of the loop to a journal in this directory, for `neaptide explain --journal`.
        prices: a price catalogue (YAML or CSV); by default the public list prices that come with the package.
        output: table for people; json or yaml for programs.
    """
    if report is not None and not Path(report).parent.is_dir():
        raise unacceptable("--report", report, "a file in a directory that exists")
    plan = read_scenario(scenario)
    catalogue, unpriced = read_catalogue(prices)
    collector = Collector()
    with ExitStack() as stack:
        log = stack.enter_context(_open(journal)) if journal is not None else None
        advanced = stack.enter_context(progress(f"simulating {plan.name}"))

        def record(cycle: Cycle) -> None:
            collector(cycle)
            if log is not None:
                log.append(cycle)

        try:
            result = run(plan, catalogue=catalogue, record=record, progress=advanced)
        except FieldError as error:
            raise UsageError(str(error.left_out(scenario, ""))) from error
    if report is not None:
        try:
            write(report_of(plan, result, collector, prices or "the public list prices of the package"), Path(report))
        except OSError as error:
            raise UsageError(f"--report: {error}; accepted: a file that can be written") from error
    times = {"start": timestamp(result.start), "end": timestamp(result.end)}
    document = {"scenario": result.scenario, **times, "summary": result.summary, "left_out": unpriced}
    emit(document, output, title="simulation")
    return PARTIAL if unpriced else OK


def read_scenario(path: str) -> Scenario:
    """A scenario from a file. Raises UsageError."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except FieldError as error:
        raise UsageError(str(error.left_out(path, ""))) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}; accepted: a scenario in YAML") from error


def report_of(scenario: Scenario, result: Result, collector: Collector, prices: str) -> Report:
    """A report on one run; `prices` says where those come from that the scenario leaves out."""
    policies = ", ".join(f"{each.name} ({each.mode})" for each in scenario.policies)
    note = f"The policies {policies}." if policies else "No policy takes part."
    return Report(
        title=scenario.name,
        lead=[f"From {timestamp(result.start)} to {timestamp(result.end)}, with the seed {scenario.seed}."],
        set_ups=[SetUp(name=scenario.name, note=note, result=result, decisions=collector.close(result))],
        assumptions=[
            f"Prices that the scenario does not state are from {prices}.",
            "The same scenario gives the same figures every time.",
        ],
    )


def _open(directory: str) -> Log:
    try:
        return Log(directory, NAME)
    except (OSError, LogInUseError) as error:
        raise UsageError(f"--journal: {error}; accepted: a directory that can be written to") from error
