"""`neaptide spot-rescheduler` takes the command line of the k8s-spot-rescheduler, and says what it would do."""

import json
from pathlib import Path

import pytest
from tests.builders import node, pod
from tests.cli.clusters import PRICE_LABEL, write_list

from neaptide.cli.app import run

Captured = pytest.CaptureFixture[str]


def dump(path: Path) -> str:
    price = {PRICE_LABEL: "1.0"}
    return write_list(
        path / "dump.json",
        node("worker", labels={"kubernetes.io/role": "worker"} | price),
        node("spot", labels={"kubernetes.io/role": "spot-worker"} | price),
        pod("web-0", node="worker", cpu="1", memory="4Gi"),
    )


def test_a_dump_shows_the_drain_as_a_whole(tmp_path: Path, capsys: Captured) -> None:
    assert run(["spot-rescheduler", dump(tmp_path), "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(each["kind"], each["target"]) for each in document["actions"]] == [
        ("Taint", "Node worker"),
        ("Evict", "Pod default/web-0"),
    ]
    assert document["money_per_hour"]["planned"] == 1.0


OLD = (
    "--running-in-cluster=false --namespace=kube-system --kube-api-content-type=application/json "
    "--housekeeping-interval=10s --node-drain-delay 10m --pod-eviction-timeout=1m30s --max-graceful-termination=2m "
    "--listen-address=0.0.0.0:9235 --on-demand-node-label=kubernetes.io/role=worker "
    "--spot-node-label kubernetes.io/role=spot-worker --delete-non-replicated-pods=true "
    "--logtostderr=true --alsologtostderr -v=4 --vmodule=a=2 --stderrthreshold=2 --log_dir=/tmp --log_backtrace_at=a.go:1"
)


def test_the_old_command_line_is_accepted_and_what_does_nothing_is_said(tmp_path: Path, capsys: Captured) -> None:
    assert run(["spot-rescheduler", dump(tmp_path), *OLD.split(), "--output", "json"]) == 0
    said = capsys.readouterr()
    assert len(json.loads(said.out)["actions"]) == 2
    for flag in ("--kube-api-content-type", "--v=4", "--logtostderr", "--vmodule", "--stderrthreshold", "--log_dir"):
        assert flag in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--on-demand-node-label=a=b=c"],
            "the on demand node label is not correctly formatted: expected '<label_name>' or '<label_name>=<label_value>', but got a=b=c",
        ),
        (
            ["--spot-node-label", "a=b=c"],
            "the spot node label is not correctly formatted: expected '<label_name>' or '<label_name>=<label_value>', but got a=b=c",
        ),
        (["--node-drain-delay=10"], "--node-drain-delay: '10' is not accepted; accepted: a duration as 10s, 2m or 1h30m"),
        (["--housekeeping-interval=0s"], "--housekeeping-interval: '0s' is not accepted; accepted: a duration above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, capsys: Captured, arguments: list[str], said: str) -> None:
    assert run(["spot-rescheduler", dump(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err == f"neaptide: {said}\n"


def test_fields_that_the_old_one_had_no_flag_for_can_be_set(tmp_path: Path, capsys: Captured) -> None:
    further = ["--set", "spot-rescheduler.profile=default"]
    assert run(["spot-rescheduler", dump(tmp_path), *further, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["money_per_hour"]["now"] == 2.0
