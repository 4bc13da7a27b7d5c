"""The command as a user meets it: help, exit codes, one sentence for what is wrong, nothing heavy before it is needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.clusters import small_cluster

from neaptide import __version__
from neaptide.cli.app import COMMANDS, run

NEAPTIDE = (sys.executable, "-m", "neaptide")


def neaptide(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - our own command
        [*NEAPTIDE, *arguments], input=given, capture_output=True, check=False
    )


def test_the_version_is_told_without_importing_anything_heavy() -> None:
    found = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-X", "importtime", *NEAPTIDE[1:], "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout == f"neaptide {__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert not imported & {"cyclopts", "msgspec", "numpy", "rich", "scipy", "yaml"}


def test_listing_the_commands_imports_none_of_them() -> None:
    code = "import sys; from neaptide.cli.app import run; run(['--help']); sys.exit('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603 - our own command
    assert found.returncode == 0


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(command.words.split()[0] in listed for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=[command.words for command in COMMANDS])
def test_every_command_helps_with_examples(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    words, _, _, examples = command
    assert run([*words.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert all(example in shown for example in examples), "an example is too long for a line"
    assert any(f"neaptide {words}" in example for example in examples)


WRONG: dict[str, tuple[list[str], str]] = {
    "a command that there is not": (["plna"], 'Unknown command "plna". Did you mean "plan"?'),
    "an option that there is not": (["plan", "x", "--oputput", "json"], "Unknown option: --oputput"),
    "an argument that is missing": (["snapshot", "save"], "requires an argument"),
    "a choice that there is not": (["plan", "x", "--output", "xml"], 'Choose from: "table", "json", "yaml"'),
    "a file that is not there": (["plan", "nowhere.json"], "nowhere.json: No such file or directory; accepted: "),
    "a policy that there is not": (["plan", "x", "--policy", "magic"], "--policy: 'magic' is not accepted; accepted: "),
    "a price catalogue that is not there": (["plan", "x", "--prices", "no.csv"], "no.csv: 'No such file or directory'"),
    "an explanation from nothing": (["explain", "node", "n", "--kubeconfig", "no.yaml"], "no.yaml"),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_one_sentence_on_standard_error_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("neaptide: ")
    assert said.err.count("\n") == 1
    assert sentence in said.err


def test_a_plan_of_standard_input_is_json_and_nothing_else(tmp_path: Path) -> None:
    given = Path(small_cluster(tmp_path / "dump.json")).read_bytes()
    found = neaptide("plan", "-", "--output", "json", given=given)
    assert found.returncode == 0
    assert json.loads(found.stdout)["nodes"]["now"] == 2


def test_input_that_cannot_be_used_still_gives_the_document_and_exit_code_2() -> None:
    found = neaptide("plan", "-", "--output", "json", given=b'{"kind": "List", "items": [')
    assert found.returncode == 2
    assert json.loads(found.stdout)["left_out"][0]["file"] == "/dev/stdin"
    assert b"Traceback" not in found.stderr


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    path = small_cluster(tmp_path / "dump.json")
    pipe = f"{sys.executable} -m neaptide plan {path} --output json | true"
    found = subprocess.run(["/bin/bash", "-c", pipe], capture_output=True, check=False)  # noqa: S603 - our own command
    assert found.stderr == b""
