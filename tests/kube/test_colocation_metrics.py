"""What Prometheus sees of co-location, and the chart's alerts firing on it in a real one."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from tests.builders import node, pod
from tests.kube.live import eventually

from neaptide.kube.cache import Cache
from neaptide.kube.colocation_metrics import ColocationMetrics, seen
from neaptide.model import objects as o
from neaptide.model.node_metric import FINDINGS, OBJECTIVE, NodeMetric
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.testbed.ports import assign

ALERTS = Path(__file__).parents[2] / "charts/neaptide/files/alerts.yaml"
BATCH = {"koordinator.sh/priority-class": "koord-batch"}
OURS = {
    "NeaptideConflict",
    "NeaptideServiceSuffers",
    "NeaptideBelowObjective",
    "NeaptideOfflineStarves",
    "NeaptideNodesDegraded",
    "NeaptideNodesUnmeasured",
}


def troubled(snapshot: ClusterSnapshot, now: float) -> None:
    """A node that nobody measures, one that is not ready, a job's pod that failed and one that waits, and two services that suffer."""
    snapshot.set(node("n", cpu="4", resources={"kubernetes.io/batch-cpu": "1000"}))
    conditions = (o.NodeCondition(type="Ready", status="False"),)
    snapshot.set(o.Node(o.Metadata(name="m"), status=o.NodeStatus(allocatable={"cpu": "2"}, conditions=conditions)))
    snapshot.set_node_usage(snapshot.nodes.by_name["m"], 1.0, 1.0, now)
    snapshot.set(pod("failed", node="n", phase="Failed", labels=BATCH))
    snapshot.pods.created[snapshot.set_pod(pod("waits", labels=BATCH))] = now - 30_000
    for name in ("web", "api", "odd", "slow", "quick"):
        snapshot.set(pod(name, node="n", cpu="200m"))
    told = [
        {"name": name, "namespace": "default", "extensions": {FINDINGS: {"step": step}}}
        for name, step in (("web", "SUPPRESS"), ("api", "MOVE"), ("odd", 7))
    ]
    for name, seconds in (("slow", 0.03), ("quick", 0.01)):
        objective = {"seconds": seconds, "objective": 0.02, "quantile": 0.99}
        told.append({"name": name, "namespace": "default", "extensions": {OBJECTIVE: objective}})
    status = {"podsMetric": told, "updateTime": timestamp(now)}
    snapshot.set(msgspec.convert({"metadata": {"name": "n"}, "status": status}, NodeMetric))


def test_every_figure_says_what_the_cluster_holds() -> None:
    snapshot = ClusterSnapshot()
    troubled(snapshot, 1e9)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in seen(snapshot, 1e9)
        for sample in family.samples
    }
    assert found["neaptide_resource_amount", "cpu", "own", "free"] == 5000
    assert found["neaptide_resource_amount", "cpu", "batch", "offered"] == 1000
    assert not [key for key in found if key[0] == "neaptide_resource_used"]  # n is not measured
    assert (found["neaptide_nodes", "not_ready"], found["neaptide_nodes", "unmeasured"]) == (1, 1)
    assert found[("neaptide_offline_failed_pods",)] == 1
    assert found[("neaptide_offline_longest_wait_seconds",)] == 30_000
    assert [found["neaptide_suffering_pods", step] for step in ("SUPPRESS", "EVICT", "MOVE")] == [1, 0, 1]
    assert [found["neaptide_objective_pods", above] for above in ("true", "false")] == [1, 1]


def test_what_an_agent_said_long_ago_is_no_trouble_of_now() -> None:
    snapshot = ClusterSnapshot()
    troubled(snapshot, 1e9)
    later = {
        (sample.name, *sample.labels.values()): sample.value
        for family in seen(snapshot, 1e9 + 3600)
        for sample in family.samples
    }
    assert later["neaptide_suffering_pods", "SUPPRESS"] == later["neaptide_objective_pods", "true"] == 0


def test_an_empty_cluster_has_figures_too_and_a_held_one_shows_the_last() -> None:
    cache, metrics, registry = Cache(()), ColocationMetrics(lambda: 1e9), CollectorRegistry()
    metrics.watch(cache)
    registry.register(metrics)
    before = generate_latest(registry)
    assert b'neaptide_nodes{state="unmeasured"} 0.0' in before
    with cache.held():
        cache.snapshot.set(node("n"))
        assert generate_latest(registry) == before
    assert b'neaptide_nodes{state="unmeasured"} 1.0' in generate_latest(registry)


@pytest.fixture
def scraped(prometheus: Path, tmp_path: Path) -> Iterator[str]:
    """A Prometheus that scrapes a troubled cluster's figures each second, with the chart's rules and none of their patience."""
    cache, metrics, registry = Cache(()), ColocationMetrics(), CollectorRegistry()
    troubled(cache.snapshot, time.time())
    metrics.watch(cache)
    registry.register(metrics)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "2s"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    target = {"targets": [f"127.0.0.1:{server.server_port}"], "labels": {"namespace": "tide"}}
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "neaptide", "static_configs": [target]}],
    }
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    port = assign(["prometheus"], {})["prometheus"]
    command = [
        str(prometheus),
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:  # noqa: S603
        yield f"http://127.0.0.1:{port}"
        running.kill()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
def test_the_charts_alerts_fire_in_a_real_prometheus(scraped: str) -> None:
    def firing() -> set[str]:
        try:
            with urllib.request.urlopen(f"{scraped}/api/v1/alerts", timeout=5) as answer:  # noqa: S310 - http, of this test
                alerts = json.load(answer)["data"]["alerts"]
        except OSError:
            return set()
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    eventually(lambda: firing() >= OURS, "the alerts fire")
