"""`neaptide advise grace`."""

import json
from pathlib import Path

import pytest

from neaptide.cli.app import run
from neaptide.forecast.grace import choices
from neaptide.forecast.survival import Run


def job(name: str, minutes: int | None) -> dict[str, object]:
    status: dict[str, object] = {"startTime": "2026-11-30T10:00:00Z"}
    if minutes is not None:
        status["completionTime"] = f"2026-11-30T{10 + minutes // 60:02}:{minutes % 60:02}:00Z"
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "train"}, "status": status}


def written(directory: Path, *jobs: dict[str, object]) -> str:
    file = directory / "jobs.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(jobs)}))
    return str(file)


def test_graces_are_quantiles_of_how_long_jobs_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, *(job(f"j{minutes}", minutes) for minutes in range(10, 110, 10)))
    assert run(["advise", "grace", file, "--price", "1.2", "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(each["share"], each["seconds"]) for each in rows][:3] == [(0.5, 3000.0), (0.75, 4800.0), (0.9, 5400.0)]
    assert rows[0]["killed"] == pytest.approx(0.5)
    assert rows[0]["money"] == pytest.approx((rows[0]["wait_seconds"] + rows[0]["lost_seconds"]) / 3600 * 1.2)


def test_what_still_runs_leaves_the_long_end_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, *(job(f"j{number}", 10) for number in range(3)), job("long", None), job("end", 200))
    assert run(["advise", "grace", file, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["seconds"] == 600.0


def test_without_a_job_that_has_ended_nothing_is_proposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["advise", "grace", written(tmp_path, job("long", None))]) == 2
    assert "none of 1 jobs with a start time has ended" in capsys.readouterr().err


def test_longer_graces_kill_less_and_wait_longer() -> None:
    found = choices([Run(float(each)) for each in range(1, 101)], 1.0)
    killed = [each.killed or 0.0 for each in found]
    waits = [each.wait_seconds or 0.0 for each in found]
    assert killed == sorted(killed, reverse=True)
    assert waits == sorted(waits)
