"""A pod's request is what kube-scheduler counts."""

from typing import Any

import pytest

from neaptide.model.objects import Container, PodSpec, Resources
from neaptide.model.problems import FieldError
from neaptide.model.requests import effective_requests, kubernetes_qos, scoring_requests, total_limits


def container(
    name: str = "c", *, sidecar: bool = False, limits: dict[str, str] | None = None, **requests: str
) -> Container:
    return Container(name=name, restart_policy="Always" if sidecar else "", resources=Resources(requests, limits or {}))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (PodSpec(containers=(container(cpu="100m"), container(cpu="1", memory="1Ki"))), {"cpu": 1100, "memory": 1024}),
        (PodSpec(containers=(container(cpu="1"),), init_containers=(container(cpu="3"),)), {"cpu": 3000}),
        (
            PodSpec(containers=(container(cpu="1"),), init_containers=(container(cpu="500m", sidecar=True),)),
            {"cpu": 1500},
        ),
        (
            PodSpec(
                containers=(container(cpu="1"),), init_containers=(container(cpu="1", sidecar=True), container(cpu="2"))
            ),
            {"cpu": 3000},
        ),
        (
            PodSpec(
                containers=(container(cpu="1"),), init_containers=(container(cpu="2"), container(cpu="1", sidecar=True))
            ),
            {"cpu": 2000},
        ),
        (PodSpec(containers=(container(cpu="1"),), overhead={"cpu": "250m"}), {"cpu": 1250}),
        (
            PodSpec(
                containers=(Container(resources=Resources({"cpu": "1", "nvidia.com/gpu": "1"})),),
                resources=Resources({"cpu": "4"}),
            ),
            {"cpu": 4000, "nvidia.com/gpu": 1},
        ),
        (PodSpec(containers=(container(limits={"cpu": "2"}),)), {"cpu": 2000}),
        (PodSpec(containers=(container(),)), {}),
    ],
    ids=[
        "containers add up",
        "an init container raises the total to its own",
        "a sidecar adds to the containers",
        "an init container runs beside the sidecars before it",
        "an init container runs without the sidecars after it",
        "overhead is added",
        "a pod-level request replaces the containers' sum for its resource",
        "a limit alone counts as the request",
        "no request is no amount",
    ],
)
def test_the_effective_request_is_that_of_kube_scheduler(spec: PodSpec, expected: dict[str, int]) -> None:
    assert effective_requests(spec) == expected


def test_of_a_pod_whose_resize_is_under_way_the_largest_request_counts() -> None:
    spec = PodSpec(containers=(container("main", cpu="1"),))
    assert effective_requests(spec, {"main": ({"cpu": "1"}, {"cpu": "2"}, {"cpu": "500m"})}) == {"cpu": 2000}
    assert effective_requests(spec, {"main": ({"cpu": "500m"}, {})}) == {"cpu": 500}


def test_of_a_pod_whose_own_resize_is_under_way_only_what_the_pod_itself_requests_counts() -> None:
    spec = PodSpec(containers=(container("main", cpu="1"),), resources=Resources({"cpu": "2"}))
    assert effective_requests(spec, {"": ({"cpu": "2"}, {"cpu": "3", "memory": "1Gi"})}) == {"cpu": 3000}


def test_scores_count_a_default_for_a_container_without_a_request() -> None:
    spec = PodSpec(containers=(container(), container(cpu="0", memory="1Gi")))
    assert scoring_requests(spec) == (100, 200 * 2**20 + 2**30)


@pytest.mark.parametrize(
    ("overhead", "resized"),
    [({"cpu": "0"}, {}), ({}, {"main": ({}, {"cpu": "0"})})],
    ids=["overhead", "the status of a resize"],
)
def test_what_the_total_of_a_pod_with_its_own_requests_names_has_no_default(
    overhead: dict[str, str], resized: dict[str, tuple[dict[str, str], ...]]
) -> None:
    spec = PodSpec((container("main"), container("more")), overhead=overhead)
    assert scoring_requests(spec, resized)[0] >= 100
    own = PodSpec(spec.containers, overhead=overhead, resources=Resources({"memory": "1Gi"}))
    assert scoring_requests(own, resized) == (0, 2**30)


@pytest.mark.parametrize(
    ("requests", "field", "accepted"),
    [({"cpu": "-1"}, "[cpu]", "not negative"), ({"memory": "lots"}, "[memory]", "quantity")],
)
def test_a_request_that_cannot_be_counted_names_its_field(requests: dict[str, Any], field: str, accepted: str) -> None:
    with pytest.raises(FieldError) as caught:
        effective_requests(PodSpec(containers=(container(**requests),)))
    assert field in caught.value.field
    assert accepted in caught.value.accepted


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ((container(),), "BestEffort"),
        ((container(cpu="1"),), "Burstable"),
        ((container(cpu="1", memory="1Gi", limits={"cpu": "1", "memory": "1Gi"}),), "Guaranteed"),
        ((container(limits={"cpu": "1", "memory": "1Gi"}),), "Guaranteed"),
        ((container(limits={"cpu": "1", "memory": "1Gi"}), container()), "Burstable"),
    ],
)
def test_the_kubernetes_qos_class_follows_requests_and_limits(containers: tuple[Container, ...], expected: str) -> None:
    assert kubernetes_qos(PodSpec(containers=containers)) == expected


def test_a_resource_that_one_container_leaves_unlimited_has_no_limit() -> None:
    both = (container(limits={"cpu": "1", "memory": "1Gi"}), container(limits={"cpu": "2"}))
    assert total_limits(PodSpec(containers=both)) == {"cpu": 3000}
