"""A service's own latency: read from a real endpoint and from a real Prometheus, it sizes offline work in place of the formula."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import CollectorRegistry, Histogram, start_http_server
from tests.agent.trees import Node, Shape, pod, tell
from tests.kube.live import eventually

from neaptide.agent.latencies import Latencies, Latency
from neaptide.agent.objectives import ANNOTATION, ObjectiveError, objective_of
from neaptide.agent.pods import NodePods
from neaptide.agent.settings import Settings, SettingsError, settings
from neaptide.model.node_metric import OBJECTIVE, Objective
from neaptide.noderules.cpu_suppress import SuppressSettings
from neaptide.testbed.ports import assign

QUOTA = Settings(SuppressSettings(policy="cfsQuota", threshold_percent=50), group_priority=None)


class Exporter:
    """A service that exports a histogram, and the node's pod that says so."""

    def __init__(self, port: int, histogram: Histogram) -> None:
        self.port, self.histogram = port, histogram

    def pods(self, labels: dict[str, str] | None = None, phase: str = "Running", **annotation: Any) -> NodePods:
        written = {"latency": "20ms", "port": self.port, "metric": "http_seconds"} | annotation
        made = pod(
            "web",
            labels=labels,
            annotations={ANNOTATION: json.dumps({k: v for k, v in written.items() if v is not None})},
        )
        made["status"] |= {"podIP": "127.0.0.1", "phase": phase}
        pods = NodePods()
        tell(pods, [made])
        return pods

    def served(self, seconds: float, times: int = 100) -> None:
        for _ in range(times):
            self.histogram.observe(seconds)


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    registry = CollectorRegistry()
    histogram = Histogram("http_seconds", "Time.", registry=registry, buckets=(0.01, 0.02, 0.04, 0.08))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield Exporter(server.server_port, histogram)
    server.shutdown()
    server.server_close()
    thread.join()


async def asked(latencies: Latencies, *between: Any) -> dict[str, Latency]:
    """What is known after as many questions, and one more, with something done between them."""
    async with aiohttp.ClientSession() as session:
        await latencies.ask(session)
        for each in between:
            each()
            await latencies.ask(session)
    return dict(latencies.now())


def test_a_pods_own_endpoint_tells_its_latency_since_the_last_question(exporter: Exporter) -> None:
    said: list[str] = []
    latencies = Latencies(exporter.pods(), said.append)
    exporter.served(0.005)
    found = asyncio.run(asked(latencies, lambda: exporter.served(0.03)))
    assert found["web"].told.seconds == pytest.approx(0.0398)
    assert str(found["web"].told) == "p99 is 39.8 ms where 20 ms are wanted"
    assert latencies.extension("web")[OBJECTIVE]["objective"] == 0.02
    assert said == []


@pytest.mark.parametrize(
    ("labels", "phase"), [({"koordinator.sh/qosClass": "BE"}, "Running"), ({}, "Succeeded")], ids=["offline", "ended"]
)
def test_who_gives_way_and_who_has_ended_is_not_asked(exporter: Exporter, labels: dict[str, str], phase: str) -> None:
    pods = exporter.pods(labels=labels, phase=phase)
    exporter.served(0.005)
    assert asyncio.run(asked(Latencies(pods, print), lambda: exporter.served(0.03))) == {}


def test_what_is_unknown_is_told_once_and_grows_old(exporter: Exporter) -> None:
    now, said = 0.0, list[str]()
    latencies = Latencies(exporter.pods(), said.append, clock=lambda: now)
    assert asyncio.run(asked(latencies, lambda: exporter.served(0.03))) != {}
    now = 16.0
    assert latencies.now() == {}
    lost = Latencies(exporter.pods(metric="other_seconds"), said.append)
    assert asyncio.run(asked(lost, lambda: None)) == {}
    assert said == [f"default/pod-web: its latency is unknown: port {exporter.port}/metrics exports no other_seconds"]
    said.clear()
    asyncio.run(asked(Latencies(exporter.pods(path="/no", port=1), said.append), lambda: None))
    assert len(said) == 1
    assert said[0].startswith("default/pod-web: its latency is unknown: ")


def test_without_a_prometheus_a_query_is_refused_with_a_sentence(exporter: Exporter) -> None:
    said: list[str] = []
    asyncio.run(asked(Latencies(exporter.pods(port=None, metric=None, query="x"), said.append)))
    assert said == [
        "default/pod-web: its latency is unknown: it names a query, and the agent was given no --prometheus"
    ]


def test_a_real_prometheus_answers_a_pods_query(exporter: Exporter, prometheus: Path, tmp_path: Path) -> None:
    target = {"targets": [f"127.0.0.1:{exporter.port}"], "labels": {"pod": "pod-web"}}
    scrape = {"job_name": "web", "static_configs": [target]}
    content = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    port = assign(["prometheus"], {})["prometheus"]
    flags = [f"--config.file={tmp_path / 'prometheus.yaml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    command = [str(prometheus), *flags, f"--web.listen-address=127.0.0.1:{port}"]
    query = 'histogram_quantile(0.99, sum by (le) (rate(http_seconds_bucket{pod="$pod"}[30s])))'
    pods = exporter.pods(port=None, metric=None, query=query)
    latencies = Latencies(pods, lambda _: None, f"http://127.0.0.1:{port}")

    def known() -> bool:
        exporter.served(0.03, 10)
        return bool(asyncio.run(asked(latencies)))

    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:  # noqa: S603
        eventually(known, "it knows the latency")
        running.kill()
    assert latencies.now()["web"].told.seconds == pytest.approx(0.04, abs=0.003)


REFUSED = {
    "no JSON": "fast",
    "no latency": '{"port": 1, "metric": "m"}',
    "no duration": '{"latency": "20", "port": 1, "metric": "m"}',
    "no quantile": '{"latency": "20ms", "quantile": 99, "port": 1, "metric": "m"}',
    "neither": '{"latency": "20ms"}',
    "both": '{"latency": "20ms", "port": 1, "metric": "m", "query": "q"}',
    "no port": '{"latency": "20ms", "metric": "m"}',
    "no metric's name": '{"latency": "20ms", "port": 1, "metric": "m{"}',
    "another host": '{"latency": "20ms", "port": 1, "metric": "m", "path": "@elsewhere/"}',
    "a field that there is not": '{"latency": "20ms", "port": 1, "metric": "m", "host": "elsewhere"}',
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_an_annotation_that_says_nothing_usable_is_refused_with_what_is_accepted(text: str) -> None:
    pods = NodePods()
    tell(pods, [pod("web", annotations={ANNOTATION: text})])
    with pytest.raises(ObjectiveError, match=r"neaptide\.io/slo.*accepted: "):
        objective_of(pods.by_uid["web"])


class Scene:
    """A service whose latency a test says, and a job that takes what it gets."""

    def __init__(self, directory: Path) -> None:
        self.node = Node(directory, Shape(2, systemd=True))
        self.node.pod("web", "burstable")
        self.node.pod("job")
        self.agent = self.node.agent(QUOTA)
        self.latency: float | None = None
        self.agent.latencies = self._latencies
        self.quotas: list[int] = []

    def seconds(self, number: int, latency: float | None, web: float = 200.0) -> list[int]:
        """Seconds that pass, and the job's limit after each, µs a period."""
        self.latency, found = latency, []
        for _ in range(number):
            used = self.quotas[-1] / 100 if self.quotas else 1000.0
            self.node.use(self.agent, web=web, job=used)
            found.append(self.node.quota(self.node.layout.tier("besteffort")))
            self.quotas = [found[-1]] if found[-1] > 0 else []
        return found

    def _latencies(self) -> dict[str, Latency]:
        at = self.node.now // 5 * 5  # measured every five seconds
        return {} if self.latency is None else {"web": Latency(Objective(self.latency, 0.02, 0.99), at)}


def test_a_service_slower_than_its_objective_has_offline_work_shrink_and_grow_back_slowly(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    formula = scene.seconds(3, None)[-1]
    assert formula == 180_000, "half of four CPUs, less the service"
    assert scene.seconds(10, 0.02)[-1] == formula, "where it begins"
    slow = scene.seconds(10, 0.04)
    assert slow[-1] < formula / 4
    assert slow == sorted(slow, reverse=True)
    fast = scene.seconds(120, 0.01)
    assert slow[-1] < fast[-1] <= slow[-1] + 4 * 8_000, "a fiftieth of the node each half minute"
    assert scene.seconds(6, None)[-1] > fast[-1], "by the formula where it is not known"
    scene.agent.close()


def test_a_service_within_its_objective_lets_offline_work_grow_beyond_the_threshold_and_never_into_what_it_uses(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.seconds(3, None)
    assert scene.seconds(600, 0.005)[-1] > 200_000
    assert scene.seconds(5, 0.005, web=3000.0)[-1] <= 100_000
    scene.agent.close()


def test_the_rule_is_a_setting() -> None:
    assert Settings().slo_share is not None
    found = settings({"slo_share": {"shrink": 1.0, "grow_seconds": 60}}).slo_share
    assert found is not None
    assert (found.shrink, found.grow_seconds) == (1.0, 60)
    assert settings({"slo_share": None}).slo_share is None
    with pytest.raises(SettingsError, match=r"slo_share\.least"):
        settings({"slo_share": {"least": 2}})
