"""`neaptide simulate`: a scenario from its YAML to its figures."""

from contextlib import ExitStack
from pathlib import Path

from neaptide.cli.costs import read_catalogue
from neaptide.cli.exits import OK, PARTIAL, UsageError
from neaptide.cli.journal import NAME
from neaptide.cli.output import Output, emit
from neaptide.cli.progress import progress
from neaptide.model.problems import FieldError
from neaptide.model.times import timestamp
from neaptide.records.log import Log, LogInUseError
from neaptide.simulator.run import run
from neaptide.simulator.scenario import Scenario, parse


def simulate(
    scenario: str, /, *, journal: str | None = None, prices: str | None = None, output: Output = "table"
) -> int:
    """Run a scenario and print what came out.

    Args:
        scenario: the scenario, as YAML.
        journal: write every decision of the loop to a journal in this directory, for `neaptide explain --journal`.
        prices: a price catalogue (YAML or CSV); by default the public list prices that come with the package.
        output: table for people; json or yaml for programs.
    """
    plan = read_scenario(scenario)
    catalogue, unpriced = read_catalogue(prices)
    with ExitStack() as stack:
        log = stack.enter_context(_open(journal)) if journal is not None else None
        report = stack.enter_context(progress(f"simulating {plan.name}"))
        try:
            result = run(plan, catalogue=catalogue, record=log.append if log else _nothing, progress=report)
        except FieldError as error:
            raise UsageError(str(error.left_out(scenario, ""))) from error
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


def _open(directory: str) -> Log:
    try:
        return Log(directory, NAME)
    except (OSError, LogInUseError) as error:
        raise UsageError(f"--journal: {error}; accepted: a directory that can be written to") from error


def _nothing(_: object) -> None:
    """Where no journal is asked for."""
