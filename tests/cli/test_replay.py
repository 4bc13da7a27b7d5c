"""`neaptide replay openb`."""

import json
from pathlib import Path

import pytest

from neaptide.cli.app import run
from neaptide.cli.exits import OK, PARTIAL, USAGE, UsageError
from neaptide.cli.replay import parse_seeds

FIELDS = [
    "workload",
    "policy",
    "seed",
    "arrivals",
    "unscheduled",
    "gpu_milli_total",
    "at_full_percent",
    "final_percent",
    "seconds",
]
NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(f"n-{at},64000,262144,4,G2\n" for at in range(5))
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n" + "".join(f"p-{at},4000,64,1,{at * 50}\n" for at in range(1, 20))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "node_list.csv").write_text(NODES)
    (tmp_path / "pods.csv").write_text(PODS)
    return tmp_path


def test_json_is_one_row_for_each_policy_and_seed_and_nothing_else(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--workload", "pods.csv", "--policy", "fgd", "--policy", "DotProd", "--seeds", "2,5-6", "--output", "json"]
    assert run(["replay", "openb", "--trace", str(directory), *words]) == OK
    rows = json.loads(capsys.readouterr().out)
    assert [list(row) for row in rows] == [FIELDS] * 6
    assert [(row["policy"], row["seed"]) for row in rows] == [
        (policy, seed) for policy in ("FGD", "DotProduct") for seed in (2, 5, 6)
    ]
    assert {row["gpu_milli_total"] for row in rows} == {20_000}
    assert {row["workload"] for row in rows} == {"pods.csv"}


def test_migrations_are_told_where_they_were_asked_for(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--workload", "pods.csv", "--policy", "neap", "--seeds", "1", "--migrations-per-100", "5"]
    assert run(["replay", "openb", "--trace", str(directory), *words, "--output", "json"]) == OK
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == [*FIELDS, "migrations"]


def test_the_table_shows_means_and_upper_bounds(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "openb", "--trace", str(directory), "--workload", "pods.csv", "--seeds", "1-2"]) == OK
    shown = capsys.readouterr().out
    assert "FGD" in shown
    assert "at full bound" in shown


def test_arrivals_come_in_the_order_of_the_file_and_wrong_names_are_reported(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrivals = directory / "arrivals"
    arrivals.write_text("pod\np-1\np-7\nnobody\np-1\n")
    words = ["--workload", "pods.csv", "--seeds", "1", "--arrivals", str(arrivals), "--output", "json"]
    assert run(["replay", "openb", "--trace", str(directory), *words]) == PARTIAL
    told = capsys.readouterr()
    (row,) = json.loads(told.out)
    assert row["arrivals"] == 3
    assert row["at_full_percent"] is None
    assert "line 4" in told.err
    assert "nobody" in told.err


WRONG = {
    "a policy that there is not": ["--policy", "worst"],
    "seeds that are none": ["--seeds", "1..3"],
    "migrations below 0": ["--migrations-per-100", "-1"],
    "migrations by a policy that cannot": ["--policy", "Random", "--migrations-per-100", "1"],
    "a directory that there is not": ["--trace", "no-such-directory"],
    "a workload that is not shipped": ["--workload", "openb_pod_list_cpu100.csv"],
}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_ends_as_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "openb", *words]) == USAGE
    told = capsys.readouterr()
    assert "accepted" in told.err
    assert not told.out


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("1-3", [1, 2, 3]), ("1, 4-5,4", [1, 4, 5])], ids=["one", "range", "list"]
)
def test_seeds_are_numbers_and_ranges_each_once(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "1-99999999", "1,,2"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)
