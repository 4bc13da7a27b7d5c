"""`neaptide prices check`: what is printed, and what the exit code says."""

import json
from pathlib import Path

import pytest
import yaml

from neaptide.cli.prices import check

HEADER = "instance_type,capacity_type,price_per_hour,cpu_milli\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prices.csv"


def test_a_clean_file_exits_with_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(HEADER + "m5.large,on-demand,0.096,1930\n")
    assert check(file, output="json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["left_out"] == []
    assert [price["instance_type"] for price in document["instance_types"]] == ["m5.large"]
    assert (document["instance_types"][0]["pods"], document["units"], document["gpus"]) == (None, [], [])


def test_a_file_with_a_wrong_row_exits_with_1_and_names_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(HEADER + "m5.large,on-demand,NaN,1930\nm5.xlarge,spot,0.1,\n")
    assert check(file, output="yaml") == 1
    document = yaml.safe_load(capsys.readouterr().out)
    assert len(document["instance_types"]) == 1
    assert document["left_out"] == [
        {
            "file": str(file),
            "object": "line 2",
            "field": "price_per_hour",
            "value": "NaN",
            "accepted": "a number of US dollars per hour, from 0 to 1000000",
        }
    ]


def test_an_unreadable_file_exits_with_2_and_says_why(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(file, output="json") == 2
    document = json.loads(capsys.readouterr().out)
    assert document["left_out"][0]["accepted"] == "a file that can be read"
    assert "No such file" in document["error"]


def test_the_table_shows_prices_and_problems(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(HEADER + "m5.large,on-demand,0.096,1930\nm5.xlarge,spot,-1,\n")
    check(file)
    lines = capsys.readouterr().out.splitlines()
    assert any("instance types (1)" in line for line in lines)
    assert any("m5.large" in line and "0.096" in line and "1930" in line for line in lines)
    assert any(all(part in line for part in (str(file), "line 3", "price_per_hour", "-1")) for line in lines)
