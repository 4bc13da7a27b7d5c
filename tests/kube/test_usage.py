"""Usage: whichever source is there, what is unknown stays unknown, and what is old is not believed."""

import asyncio
from collections.abc import Callable
from math import isnan, nan
from typing import Any

import pytest
from aiohttp import web
from tests.builders import node, pod

from neaptide.kube import world
from neaptide.kube.usage.kubelet import Kubelets, samples
from neaptide.kube.usage.meter import Meter
from neaptide.kube.usage.metrics_api import MetricsApi
from neaptide.kube.usage.prometheus import QUERIES, Prometheus
from neaptide.kube.usage.readings import Reading, Readings, apply
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.model.snapshot import ClusterSnapshot

NOW = 1_800_000_000.0
STAMP = "2027-01-15T08:00:00Z"


def test_usage_that_nobody_reads_does_not_hold_up_the_first_cycle_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "FIRST_LOOK_WITHIN", 0.1)

    async def play() -> bool:
        async with Client(Cluster("https://localhost:1")) as client:
            found = world.World(client)  # without streams, so that all of them are synced
            async with asyncio.timeout(60):
                await found.ready()
            return found.meter.looked

    assert not asyncio.run(play())


def serving(routes: dict[str, Any], ask: Callable[[str], Any]) -> Any:
    """What `ask` gives with the URL of a server that answers paths with JSON, text, or a status where it is a number."""

    async def handle(request: web.Request) -> web.Response:
        key = request.query.get("query", request.path)
        answer = routes.get(key, 404)
        if callable(answer):
            answer = answer()
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.Response(text=answer) if isinstance(answer, str) else web.json_response(answer)

    async def run() -> Any:
        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            return await ask(f"http://{host}:{port}")
        finally:
            await runner.cleanup()

    return asyncio.run(run())


METRICS = {
    "/apis/metrics.k8s.io/v1beta1/nodes": {
        "items": [
            {"metadata": {"name": "n"}, "timestamp": STAMP, "usage": {"cpu": "1500m", "memory": "2Gi"}},
            {"metadata": {"name": "odd"}, "timestamp": STAMP, "usage": {"cpu": "plenty"}},
        ]
    },
    "/apis/metrics.k8s.io/v1beta1/pods": {
        "items": [
            {
                "metadata": {"name": "web", "namespace": "default"},
                "timestamp": STAMP,
                "containers": [{"usage": {"cpu": "100m", "memory": "1Gi"}}, {"usage": {"cpu": "50m"}}],
            }
        ]
    },
}


def test_metrics_server_is_read_and_what_a_container_lacks_is_unknown_for_its_pod() -> None:
    async def ask(url: str) -> Readings:
        async with Client(Cluster(url)) as client:
            return await MetricsApi(client).read()

    found = serving(METRICS, ask)
    assert found.nodes == {"n": Reading(1500.0, 2.0 * 2**30, NOW)}
    web_pod = found.pods["default/web"]
    assert web_pod.cpu == 150.0
    assert isnan(web_pod.memory)
    assert len(found.problems) == 1


def exposition(seconds: float, time: float) -> str:
    stamp = int(time * 1000)
    return "\n".join(
        (
            "# HELP container_cpu_usage_seconds_total of a container",
            f'container_cpu_usage_seconds_total{{container="a",namespace="default",pod="web"}} {seconds} {stamp}',
            f'container_cpu_usage_seconds_total{{container="b",namespace="default",pod="web"}} {2 * seconds} {stamp}',
            f'container_memory_working_set_bytes{{container="a",namespace="default",pod="web"}} 1e+06 {stamp}',
            f'container_memory_working_set_bytes{{container="b",namespace="default",pod="web"}} 2e+06 {stamp}',
            f"node_cpu_usage_seconds_total {10 * seconds} {stamp}",
            f"node_memory_working_set_bytes 5e+09 {stamp}",
            "scrape_error 0",
            "nonsense",
        )
    )


def test_kubelets_tell_memory_at_once_and_cpu_from_the_second_look_on() -> None:
    looks = iter((exposition(100.0, NOW), exposition(130.0, NOW + 60), exposition(5.0, NOW + 120)))
    path = "/api/v1/nodes/n/proxy/metrics/resource"

    async def ask(url: str) -> list[Readings]:
        async with Client(Cluster(url)) as client:
            source = Kubelets(client, lambda: ["n"])
            return [await source.read() for _ in range(3)]

    first, second, restarted = serving({path: lambda: next(looks)}, ask)
    assert isnan(first.nodes["n"].cpu)
    assert first.nodes["n"].memory == 5e9
    assert second.pods["default/web"] == Reading(1500.0, 3e6, NOW + 60)
    assert second.nodes["n"].cpu == 5000.0
    assert isnan(restarted.pods["default/web"].cpu)


def test_lines_that_cannot_be_read_are_passed_over() -> None:
    text = "node_memory_working_set_bytes many\nnode_memory_working_set_bytes\nnode_memory_working_set_bytes 7\n{}"
    assert [each.value for each in samples(text, NOW)] == [7.0]


def vector(*values: tuple[dict[str, str], str]) -> dict[str, Any]:
    result = [{"metric": metric, "value": [NOW, value]} for metric, value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_prometheus_is_asked_where_its_url_is_given() -> None:
    answers = {
        QUERIES["pod cpu"]: vector(({"namespace": "default", "pod": "web"}, "250")),
        QUERIES["pod memory"]: vector(({"namespace": "default", "pod": "web"}, "1e6")),
        QUERIES["node cpu"]: vector(({"node": "n"}, "4000")),
        QUERIES["node memory"]: vector(({"instance": "m:10250"}, "8e9")),
    }
    found = serving(answers, lambda url: Prometheus(url, lambda: NOW).read())
    assert found.pods == {"default/web": Reading(250.0, 1e6, NOW)}
    assert found.nodes["n"].cpu == 4000.0
    assert isnan(found.nodes["n"].memory)
    assert found.nodes["m"].memory == 8e9


def test_the_first_source_that_works_is_taken_and_said() -> None:
    async def ask(url: str) -> tuple[str, str]:
        async with Client(Cluster(url)) as client:
            meter = Meter([MetricsApi(client), Kubelets(client, lambda: ["n"])])
            await meter.read()
            return meter.source, meter.problem

    path = "/api/v1/nodes/n/proxy/metrics/resource"
    assert serving(METRICS, ask) == ("metrics.k8s.io", "")
    assert serving({path: exposition(1.0, NOW)}, ask) == ("kubelet /metrics/resource", "")
    source, problem = serving({}, ask)
    assert source == ""
    assert "metrics.k8s.io" in problem
    assert "kubelet" in problem


@pytest.mark.parametrize(
    "answer",
    ["<html>please log in</html>", {"items": None}, {"items": 7}],
    ids=["a proxy's page", "no list", "a number"],
)
def test_a_source_that_answers_what_makes_no_sense_leaves_the_next_one_its_turn(answer: object) -> None:
    async def ask(url: str) -> str:
        async with Client(Cluster(url)) as client:
            meter = Meter([MetricsApi(client), Kubelets(client, lambda: ["n"])])
            await meter.read()
            return meter.source

    routes = {"/apis/metrics.k8s.io/v1beta1/nodes": answer, "/api/v1/nodes/n/proxy/metrics/resource": ""}
    assert serving(routes, ask) == "kubelet /metrics/resource"


def cluster() -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for name in ("n", "m"):
        snapshot.set(node(name))
    for name in ("web", "other"):
        snapshot.set(pod(name, node="n"))
    return snapshot


@pytest.mark.parametrize(("age", "known"), [(0.0, True), (899.0, True), (901.0, False), (nan, False)])
def test_unknown_and_old_usage_is_nan_and_never_zero(age: float, known: bool) -> None:
    snapshot = cluster()
    reading = Reading(100.0, 1e6, NOW - age)
    apply(snapshot, Readings({"n": reading}, {"default/web": reading}), NOW)
    rows = snapshot.nodes.by_name, snapshot.pods.by_key
    assert isnan(snapshot.nodes.usage_cpu[rows[0]["m"]])
    assert isnan(snapshot.pods.usage_cpu[rows[1]["default/other"]])
    assert isnan(snapshot.nodes.usage_cpu[rows[0]["n"]]) is not known
    assert isnan(snapshot.pods.usage_memory[rows[1]["default/web"]]) is not known


def test_what_is_no_longer_measured_becomes_unknown() -> None:
    snapshot = cluster()
    reading = Reading(100.0, 1e6, NOW)
    apply(snapshot, Readings({"n": reading}, {"default/web": reading}), NOW)
    apply(snapshot, Readings({}, {}), NOW + 30)
    assert isnan(snapshot.nodes.usage_cpu[snapshot.nodes.by_name["n"]])
    assert isnan(snapshot.pods.usage_cpu[snapshot.pods.by_key["default/web"]])
