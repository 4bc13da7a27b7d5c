"""The page of the command line, held against the commands."""

import re
from pathlib import Path

from neaptide.cli.app import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_lists_every_command_and_no_other() -> None:
    rows = re.findall(r"^\| `neaptide ([a-z -]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(command.words for command in COMMANDS)
