"""`neaptide testbed colocation`: a service beside offline jobs on one real node, as a table and as a page."""

from pathlib import Path
from tempfile import TemporaryDirectory

from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.cli.progress import progress
from neaptide.testbed.errors import TestbedError

_WORK = 0.001
"""CPU seconds of a request."""


def colocation(
    *,
    rounds: int = 2,
    seconds: float = 10.0,
    rate: float = 350.0,
    report: Path = Path("neaptide-demo/colocation.html"),
    output: Output = "table",
) -> int:
    """Run a service alone, beside uncontrolled jobs, beside jobs with requests and limits, and under the agent; on a node on CPU 1, asked from CPU 0.

    Args:
        rounds: of each set-up, one after the other and then again.
        seconds: of each round.
        rate: requests a second, each of a millisecond of CPU.
        report: the page that is written.
        output: table for people; json or yaml for programs.
    """
    from neaptide.testbed.colocation import programs
    from neaptide.testbed.colocation.page import page, row
    from neaptide.testbed.colocation.rounds import interleaved, machine
    from neaptide.testbed.colocation.scene import staged

    for name, value in (("--rounds", rounds), ("--seconds", seconds), ("--rate", rate)):
        if value <= 0:
            raise unacceptable(name, value, "more than 0")
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        with (
            progress("rounds") as tell,
            TemporaryDirectory() as directory,
            staged(Path(directory), work=programs.work_of(_WORK)) as scene,
        ):
            played = interleaved(scene, rounds=rounds, rate=rate, seconds=seconds, tell=tell)
    except (TestbedError, OSError) as error:
        raise UsageError(str(error)) from error
    about = (
        f"{rounds} rounds of {seconds:g} s of each set-up, interleaved; {rate:g} requests a second at an even pace, a millisecond of CPU each; latency counts "
        f"from when a request was due. {machine()}."
    )
    report.write_text(page(played, about))
    rows = [row(set_up, each)._asdict() for set_up, each in played.items()]
    emit({"set_ups": rows, "report": str(report)}, output)
    return OK
