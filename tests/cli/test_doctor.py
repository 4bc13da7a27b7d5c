"""`neaptide doctor` on a real control plane."""

import json
from pathlib import Path

import pytest

from neaptide.cli.app import run


def test_doctor_examines_a_real_cluster(kubeconfig: Path, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
    del namespace
    code = run(["doctor", "--kubeconfig", str(kubeconfig), "--output", "json"])
    found = json.loads(capsys.readouterr().out)
    assert code == any(each["severity"] == "problem" for each in found)
    assert not any(each["about"] == "rights" for each in found), "the administrator may do everything"
