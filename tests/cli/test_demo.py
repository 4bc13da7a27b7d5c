"""`neaptide demo`: three set-ups on the same work, as a table, as JSON, as a report and as a picture."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest

from neaptide.cli.app import run
from neaptide.cli.demo import JOURNAL, REPORT
from neaptide.kube.decisions import NAME
from neaptide.records.reading import read

Captured = pytest.CaptureFixture[str]


def short(directory: Path, *more: str) -> int:
    return run(["demo", "--short", "--directory", str(directory), *more])


class Made(NamedTuple):
    """A demo's directory and what it printed as JSON."""

    directory: Path
    document: dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory, printed = tmp_path_factory.mktemp("demo"), io.StringIO()
    with redirect_stdout(printed):
        assert short(directory, "--picture", str(directory / "demo.svg"), "--output", "json") == 0
    return Made(directory, json.loads(printed.getvalue()))


def test_json_compares_three_set_ups_on_the_same_work(made: Made) -> None:
    two, by_requests, own = made.document["set_ups"]
    names = [each["set_up"] for each in (two, by_requests, own)]
    assert names == ["Two clusters", "One cluster by requests", "Neaptide"]
    assert two["jobs"] == by_requests["jobs"] == own["jobs"] > 50
    assert own["dollars_per_day"] < min(two["dollars_per_day"], by_requests["dollars_per_day"])
    assert own["cpu_use"] > max(two["cpu_use"], by_requests["cpu_use"])
    assert own["longest_wait_seconds"] > two["longest_wait_seconds"]
    assert own["evictions_of_services"] == 0
    assert made.document["report"] == str(made.directory / REPORT)


def test_a_second_demo_prints_the_same_figures_and_replaces_the_journal(made: Made, capsys: Captured) -> None:
    before = (made.directory / REPORT).read_bytes()
    assert short(made.directory) == 0
    out = capsys.readouterr().out
    assert f"Report: {made.directory / REPORT}" in out
    for row in ("Money", "Nodes", "CPU used", "Jobs finished", "Longest wait", "Contention", "Evictions"):
        assert f"  {row}, " in out
    assert (made.directory / REPORT).read_bytes() == before
    times = [record["time"] for _, record in read(made.directory / JOURNAL, NAME)]
    assert len(times) == 288
    assert times == sorted(times)


def test_every_policy_gives_its_reasons_in_the_report(made: Made) -> None:
    page = (made.directory / REPORT).read_text(encoding="utf-8")
    for text in ("reclaim: SetNodeResources", "time-windows: Resume", "autoscaler: Buy", "the rule night is"):
        assert text in page


def test_the_picture_is_well_formed_and_has_every_set_up(made: Made) -> None:
    drawn = "".join(ET.fromstring((made.directory / "demo.svg").read_text(encoding="utf-8")).itertext())  # noqa: S314 - our own file
    assert all(name in drawn for name in ("Two clusters", "One cluster by requests", "Neaptide"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "-1"], "--seed: '-1' is not accepted; accepted: a whole number from 0 on"),
        (["--picture", "/nowhere/demo.svg"], "accepted: a file in a directory that exists"),
        (["--directory", "/dev/null/demo"], "accepted: a directory and files that can be written"),
    ],
    ids=["a negative seed", "a picture in no directory", "a directory that cannot be made"],
)
def test_what_cannot_be_used_ends_with_a_sentence_at_once(
    tmp_path: Path, capsys: Captured, arguments: list[str], said: str
) -> None:
    where = [] if "--directory" in arguments else ["--directory", str(tmp_path)]
    assert run(["demo", *where, *arguments]) == 2
    assert said in capsys.readouterr().err
