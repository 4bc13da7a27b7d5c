"""`neaptide testbed` as a user types it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kube.live import eventually
from tests.testbed.asking import done, items, refused

from neaptide.cli.app import run
from neaptide.testbed import cluster

WRONG: dict[str, tuple[list[str], str]] = {
    "fewer nodes than none": (["up", "--nodes", "-1"], "--nodes: '-1' is not accepted; accepted: 0 or more"),
    "more spot than all": (["up", "--spot-fraction", "2"], "--spot-fraction: '2.0' is not accepted; accepted: 0 to 1"),
    "a spot price above the other": (["up", "--spot-price", "1.5"], "--spot-price: '1.5' is not accepted"),
    "a type that nobody sells": (["up", "--node-types", "m0.huge"], "--node-types: 'm0.huge' is not accepted"),
    "a name that is a path": (["status", "--name", "../etc"], "--name: '../etc' is not accepted"),
    "a cluster that never was": (["status", "--name", "never-was"], "`neaptide testbed up` makes one"),
    "a component that there is not": (["logs", "dns"], "component: 'dns' is not accepted; accepted: etcd, "),
    "a status that nobody answers": (
        ["proxy", "--answer", "418"],
        "--answer: '418' is not accepted; accepted: 409, 410,",
    ),
    "a delay without a unit": (["proxy", "--delay", "200"], "--delay: '200' is not accepted; accepted: a duration"),
    "a chance above one": (["proxy", "--chance", "2"], "--chance: '2.0' is not accepted; accepted: 0 to 1"),
    "no bytes a second": (["proxy", "--throttle", "0"], "--throttle: '0' is not accepted; accepted: 1 or more bytes"),
    "a cut after no event": (["proxy", "--cut-events", "0"], "--cut-events: '0' is not accepted; accepted: 1 or more"),
    "a path that is no expression": (
        ["proxy", "--path", "("],
        "--path: '(' is not accepted; accepted: a regular expression",
    ),
    "a proxy of a cluster that never was": (["proxy", "--name", "never-was"], "`neaptide testbed up` makes one"),
    "a trace that is not there": (["up", "--openb", "nowhere"], "--openb: nowhere"),
    "pods of no trace": (["up", "--openb-pods", "5"], "unless --openb says where the trace is"),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_ends_as_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["testbed", *arguments]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert len(shown.err.splitlines()) == 1
    assert shown.out == ""


def test_status_lists_the_components(testbed: cluster.Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["testbed", "status", "--directory", str(testbed.directory), "--output", "json"]) == 0
    listed = {each["component"]: each for each in json.loads(capsys.readouterr().out)}
    assert listed.keys() == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
    assert all(each["state"] == "running" and each["memory_mib"] > 0 for each in listed.values())


def test_up_adds_the_nodes_that_are_missing(
    own_control_plane: cluster.Testbed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "openb"
    trace.mkdir()
    (trace / "openb_node_list_gpu_node.csv").write_text(
        "sn,cpu_milli,memory_mib,gpu,model\ngpu-1,96000,393216,8,V100M32\n"
    )
    (trace / "openb_pod_list_default.csv").write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
        "share,1000,1024,1,250,V100M32|A10\nwhole,2000,2048,2,1000,\nplain,500,512,0,0,\nlate,1,1,0,0,\n"
    )
    up = [
        "testbed",
        "up",
        "--directory",
        str(own_control_plane.directory),
        "--node-types",
        "m7i.large",
        "--zones",
        "a",
        "b",
    ]
    for options, new in ((["--nodes", "3"], 3), (["--nodes", "5", "--openb", str(trace), "--openb-pods", "3"], 3)):
        assert run([*up, *options]) == 0
        shown = capsys.readouterr().out
        assert f"{new} of them new" in shown
        assert str(own_control_plane.kubeconfig) in shown
    listed = _neaptide(
        "testbed", "kubectl", "--directory", str(own_control_plane.directory), "--", "get", "nodes", "-o", "name"
    )
    assert listed.split() == ["node/gpu-1", *(f"node/node-0000{number}" for number in range(1, 6))]
    eventually(lambda: {each["spec"].get("nodeName") for each in items(own_control_plane, "pods")} - {None})
    pods = {each["metadata"]["name"]: each["spec"] for each in items(own_control_plane, "pods")}
    asked = {name: each["containers"][0]["resources"].get("limits", {}) for name, each in pods.items()}
    share = {"koordinator.sh/gpu-core": "25", "koordinator.sh/gpu-memory-ratio": "25"}
    assert asked == {"share": share, "whole": {"nvidia.com/gpu": "2"}, "plain": {}}


@pytest.mark.parametrize("component", ["kube-apiserver", "audit"])
def test_logs_prints_the_end_of_a_log(testbed: cluster.Testbed, component: str) -> None:
    lines = _neaptide("testbed", "logs", component, "--directory", str(testbed.directory), "--lines", "3")
    assert len(lines.splitlines()) == 3


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_proxy_prints_a_kubeconfig_that_leads_through_its_faults(testbed: cluster.Testbed, end: signal.Signals) -> None:
    options = ["--directory", str(testbed.directory), "--answer", "503", "--path", "/nodes", "--times", "1"]
    command = [sys.executable, "-m", "neaptide", "testbed", "proxy", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:  # noqa: S603 - our own command
        try:
            assert proxy.stdout is not None
            line = next(line for line in proxy.stdout if "KUBECONFIG=" in line)
            kubeconfig = Path(line.split("=")[1].strip())
            through = f"--kubeconfig={kubeconfig}"
            done(testbed, through, "get", "namespaces")
            assert "ServiceUnavailable" in refused(testbed, through, "get", "--raw", "/api/v1/nodes")
            assert "1 in all" in proxy.stdout.readline() + proxy.stdout.readline()
            done(testbed, through, "get", "nodes")
            proxy.send_signal(end)
            assert proxy.wait(timeout=60) == 0
        finally:
            proxy.kill()
    assert not kubeconfig.exists()


def _neaptide(*arguments: str) -> str:
    command = [sys.executable, "-m", "neaptide", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own command
