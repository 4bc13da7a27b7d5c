"""`neaptide top` on a real control plane, and how a cluster looks at a glance."""

import json
from pathlib import Path

import pytest
from tests.builders import node, pod

from neaptide.cli.app import run
from neaptide.kube.overview import Share, overview
from neaptide.model.objects import Taint
from neaptide.model.snapshot import ClusterSnapshot


def test_one_look_at_a_real_cluster_counts_its_nodes_and_pods(
    kubeconfig: Path, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    del namespace
    assert run(["top", "--once", "--output", "json", "--kubeconfig", str(kubeconfig)]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert len(seen["cluster"]["nodes"]) >= seen["cluster"]["ready"]
    assert run(["top", "--kubeconfig", str(kubeconfig)]) == 0
    said = capsys.readouterr()
    assert f"{len(seen['cluster']['nodes'])} nodes" in said.out
    assert "info" not in said.out, "logs do not get between the lines"


def test_nodes_are_shown_dearest_first_with_what_keeps_pods_off_them() -> None:
    snapshot = ClusterSnapshot()
    taint = Taint("neaptide.io/draining", "", "NoSchedule")
    for item in (node("cheap", cpu="4"), node("dear", cpu="8", unschedulable=True, taints=(taint,))):
        snapshot.set(item)
    snapshot.set(pod("web", node="dear", cpu="2"))
    snapshot.set(pod("agent", node="dear", owner=("DaemonSet", "agent"), cpu="2"))
    snapshot.set(pod("waiting"))
    for name, price in (("cheap", 0.1), ("dear", 0.4)):
        row = snapshot.nodes.by_name[name]
        snapshot.set_price(row, price)
        snapshot.set_node_usage(row, 1000.0, 2**30, 0.0)
    seen = overview(snapshot)
    dear, cheap = seen.nodes
    assert (dear.name, dear.pods, dear.cpu, dear.state) == ("dear", 1, Share(0.5, 0.125), "cordoned, draining")
    assert (cheap.name, cheap.cpu) == ("cheap", Share(0.0, 0.25))
    assert (seen.ready, seen.running, seen.pending) == (2, 2, 1)
    assert seen.money_per_hour == pytest.approx(0.5)


def test_what_one_node_does_not_measure_is_unknown_for_all() -> None:
    snapshot = ClusterSnapshot()
    for name in ("a", "b"):
        snapshot.set(node(name))
    snapshot.set_node_usage(0, 1000.0, 2**30, 0.0)
    assert overview(snapshot).cpu.used is None


def test_a_pause_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "--every", "0"]) == 2
    assert "--every" in capsys.readouterr().err
