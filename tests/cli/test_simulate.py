"""`neaptide simulate`: figures on standard output, progress beside it, decisions in a journal."""

import json
import time
from pathlib import Path

import pytest

from neaptide.cli.app import run
from neaptide.cli.progress import progress
from neaptide.kube.decisions import NAME
from neaptide.records.log import Log

Captured = pytest.CaptureFixture[str]
SCENARIO = """
name: small
duration: 7200
pools:
  - name: main
    offerings:
      - {instance_type: own, allocatable: {cpu: "4", memory: 16Gi, pods: "58"}, nodes: 2, price_per_hour: 0.5}
services:
  - {name: web, cpu: 500m, memory: 1Gi, replicas: 4}
jobs:
  - {name: crunch, cpu: "1", memory: 1Gi, duration: 600, parallelism: 2}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO)
    return str(path)


def test_a_scenario_gives_its_figures_and_the_same_ones_every_time(scenario: str, capsys: Captured) -> None:
    documents = []
    for _ in range(2):
        assert run(["simulate", scenario, "--output", "json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
    assert (documents[0]["scenario"], documents[0]["end"]) == ("small", "2026-01-05T02:00:00Z")
    summary = documents[0]["summary"]
    assert (summary["jobs_finished"], summary["nodes_mean"], summary["money"]) == (1, 2, pytest.approx(2.0))


def test_a_table_is_for_people(scenario: str, capsys: Captured) -> None:
    assert run(["simulate", scenario]) == 0
    assert "summary.jobs finished" in capsys.readouterr().out


WRONG = {
    "a field that there is not": (
        SCENARIO + "speed: 2\n",
        "speed: '2' is not accepted; accepted: no field of that name",
    ),
    "a value out of range": (SCENARIO.replace("duration: 7200", "duration: 0"), "duration: '0' is not accepted; "),
    "a policy that there is not": (
        SCENARIO + "policies: [{name: magic}]\n",
        "policies[0].name: 'magic' is not accepted",
    ),
    "an amount that is none": (
        SCENARIO.replace("16Gi", "16Gx"),
        "memory: '16Gx' is not accepted; accepted: a Kubernetes",
    ),
    "nothing": ("", "accepted: one YAML document"),
    "no text": ("\udc80", "accepted: a scenario in YAML"),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_the_file(text: str, sentence: str, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run(["simulate", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"neaptide: {path}: ")
    assert sentence in said


POLICIES = "policies: [{name: reclaim, mode: Enforce}]\n"


def test_decisions_go_to_the_report_and_to_the_journal(tmp_path: Path, capsys: Captured) -> None:
    path, report, journal = (str(tmp_path / name) for name in ("scenario.yaml", "report.html", "journal"))
    Path(path).write_text(SCENARIO + POLICIES)
    assert run(["simulate", path, "--report", report, "--journal", journal]) == 0
    page = Path(report).read_text()
    assert page.startswith("<!doctype html>")
    assert "reclaim (Enforce)" in page
    capsys.readouterr()
    name = page.partition("Node main-")[2].partition("<")[0]
    assert run(["explain", "node", f"main-{name}", "--journal", journal, "--output", "json"]) == 0
    decisions = json.loads(capsys.readouterr().out)["decisions"]
    assert {(each["policy"], each["action"], each["outcome"].partition(":")[0]) for each in decisions} >= {
        ("reclaim", "SetNodeResources", "Done")
    }


def test_a_report_that_cannot_be_written_is_said_so(scenario: str, tmp_path: Path, capsys: Captured) -> None:
    assert run(["simulate", scenario, "--report", str(tmp_path / "no" / "report.html")]) == 2
    assert "accepted: a file in a directory that exists" in capsys.readouterr().err
    assert run(["simulate", scenario, "--report", str(tmp_path)]) == 2
    assert "accepted: a file that can be written" in capsys.readouterr().err


def test_a_journal_that_another_process_writes_is_refused(scenario: str, tmp_path: Path, capsys: Captured) -> None:
    with Log(tmp_path / "journal", NAME):
        assert run(["simulate", scenario, "--journal", str(tmp_path / "journal")]) == 2
    assert "the log has a writer; accepted: a directory that can be written to" in capsys.readouterr().err


def test_progress_is_told_once_it_takes_longer_and_not_on_standard_output(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress("counting") as report:
        report(1.0)
    assert capsys.readouterr() == ("", "")
    clock = iter([0.0, 1.0, 2.5, 3.0, 12.5, 13.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with progress("counting") as report:
        for done in (0.2, 0.4, 0.6, 0.8, 1.0):
            report(done)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "neaptide: counting: 40%\nneaptide: counting: 80%\n"
