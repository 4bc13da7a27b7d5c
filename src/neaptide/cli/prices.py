"""`neaptide prices check FILE`: what of a price catalogue can be used, and what is wrong with the rest."""

from enum import IntEnum
from pathlib import Path

from neaptide.cli.output import Output, emit


class Exit(IntEnum):
    """What the command's exit code says."""

    CLEAN = 0
    LEFT_OUT = 1
    UNREADABLE = 2


def check(file: Path, *, output: Output = "table") -> int:
    """Read a price catalogue (YAML or CSV) and print the prices that can be used and what was left out.

    The exit code is 0 where everything can be used, 1 where something was left out, 2 where nothing of the file can be read.

    Examples:
        neaptide prices check prices.csv

        neaptide prices check prices.yaml --output json
    """
    from neaptide.pricing.load import load
    from neaptide.pricing.parse import CatalogueError, rows_of

    try:
        catalogue, left_out = load(file)
    except CatalogueError as error:
        emit({"file": str(file), "error": str(error), "left_out": [error.left_out]}, output, title="Prices")
        return Exit.UNREADABLE
    document = {"file": str(file), **rows_of(catalogue), "left_out": left_out}
    emit(document, output, title="Prices")
    return Exit.LEFT_OUT if left_out else Exit.CLEAN
