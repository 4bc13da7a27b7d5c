"""Which price counts for a type, a shape and a node."""

import pytest

from neaptide.model.problems import LeftOut
from neaptide.pricing.catalogue import Catalogue, GpuPrice, InstancePrice, UnitPrice
from neaptide.pricing.nodes import capacity_type, label_price, label_problem, node_price
from neaptide.pricing.offerings import offerings

GIB = 2**30
TYPE, ZONE = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone"

CATALOGUE = Catalogue(
    [
        InstancePrice("m5.large", "on-demand", 0.10),
        InstancePrice("m5.large", "on-demand", 0.12, zone="a"),
        InstancePrice("m5.large", "spot", 0.04, zone="a"),
        InstancePrice("free", "on-demand", 0.0),
    ],
    [
        UnitPrice("*", "spot", 0.001, 0.0),
        UnitPrice("n1", "on-demand", 0.03, 0.004),
        UnitPrice("n1", "on-demand", 0.06, 0.008, zone="b"),
        UnitPrice("n1-highmem", "on-demand", 0.03, 0.001),
    ],
    [GpuPrice("T4", "on-demand", 0.35, also=("Tesla-T4",)), GpuPrice("T4", "on-demand", 0.5, zone="b")],
)


@pytest.mark.parametrize(
    ("instance_type", "kind", "zone", "expected"),
    [
        pytest.param("m5.large", "on-demand", "a", 0.12, id="the zone's own price"),
        pytest.param("m5.large", "on-demand", "b", 0.10, id="else that of all zones"),
        pytest.param("m5.large", "on-demand", "", 0.10, id="a node without a zone takes that of all"),
        pytest.param("m5.large", "spot", "b", None, id="spot in another zone is unknown"),
        pytest.param("m5.large", "reserved", "a", None, id="an unknown capacity type is unknown"),
        pytest.param("m5.xlarge", "on-demand", "a", None, id="an unknown type is unknown"),
        pytest.param("free", "on-demand", "a", 0.0, id="a price of zero is a price"),
    ],
)
def test_the_price_of_a_type(instance_type: str, kind: str, zone: str, expected: float | None) -> None:
    assert CATALOGUE.price(instance_type, kind, zone) == expected


@pytest.mark.parametrize(
    ("instance_type", "kind", "zone", "gpu", "model", "expected"),
    [
        pytest.param("n1-standard-4", "on-demand", "a", 0, "", 0.18, id="cores and memory of its family"),
        pytest.param("n1-standard-4", "on-demand", "b", 0, "", 0.36, id="the zone's own unit prices"),
        pytest.param("n1-highmem-4", "on-demand", "a", 0, "", 0.135, id="the narrowest family"),
        pytest.param("n1-highmem-4", "on-demand", "b", 0, "", 0.135, id="the family before the zone"),
        pytest.param("n10-standard-4", "on-demand", "a", 0, "", None, id="a family that only begins the same"),
        pytest.param("anything", "spot", "a", 0, "", 0.004, id="the family of all"),
        pytest.param("", "spot", "a", 0, "", 0.004, id="also for a node without a type"),
        pytest.param("n1-standard-4", "on-demand", "a", 2, "Tesla-T4", 0.88, id="GPUs, by another name"),
        pytest.param("n1-standard-4", "on-demand", "b", 2, "T4", 1.36, id="GPUs at the zone's price"),
        pytest.param("n1-standard-4", "on-demand", "a", 1, "G2", None, id="a GPU without a price makes all unknown"),
    ],
)
def test_the_price_of_a_shape(
    instance_type: str, kind: str, zone: str, gpu: int, model: str, expected: float | None
) -> None:
    price = CATALOGUE.price_of_shape(
        instance_type, kind, zone, cpu_milli=4000, memory_bytes=15 * GIB, gpu=gpu, gpu_model=model
    )
    assert price == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({TYPE: "m5.large", ZONE: "a"}, 0.12, id="by type and zone"),
        pytest.param({TYPE: "m5.large", ZONE: "a", "karpenter.sh/capacity-type": "spot"}, 0.04, id="by capacity type"),
        pytest.param({TYPE: "n1-standard-4"}, 0.18, id="by shape where the type is not listed"),
        pytest.param({TYPE: "m5.large", "neaptide.io/price-per-hour": "7"}, 7.0, id="its label counts first"),
        pytest.param({"eks-node-viewer/instance-price": "0.5"}, 0.5, id="also that of eks-node-viewer"),
        pytest.param({TYPE: "m5.large", "neaptide.io/price-per-hour": "nan"}, None, id="a wrong label is no price"),
        pytest.param({}, None, id="a node of which nothing is known"),
    ],
)
def test_the_price_of_a_node(labels: dict[str, str], expected: float | None) -> None:
    price = node_price(CATALOGUE, labels, cpu_milli=4000, memory_bytes=15 * GIB)
    assert price == (None if expected is None else pytest.approx(expected))


def test_a_nodes_gpu_model_is_read_from_its_label() -> None:
    labels = {TYPE: "n1-standard-4", "nvidia.com/gpu.product": "Tesla-T4"}
    assert node_price(CATALOGUE, labels, cpu_milli=4000, memory_bytes=15 * GIB, gpu=1) == pytest.approx(0.53)


@pytest.mark.parametrize("value", ["nan", "-1", "inf", "", "0,5", "1_0"])
def test_a_price_label_that_states_no_price_is_reported(value: str) -> None:
    labels = {"eks-node-viewer/instance-price": value}
    assert label_price(labels) is None
    assert label_problem(labels, file="dump.json", node="n1") == LeftOut(
        "dump.json",
        "Node n1",
        "metadata.labels[eks-node-viewer/instance-price]",
        value,
        "a number of US dollars per hour, from 0 to 1000000",
    )


@pytest.mark.parametrize("labels", [{}, {"neaptide.io/price-per-hour": "0.1"}], ids=["no label", "a price"])
def test_a_node_without_a_wrong_price_label_has_no_problem(labels: dict[str, str]) -> None:
    assert label_problem(labels, file="dump.json", node="n1") is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, "on-demand"),
        ({"karpenter.sh/capacity-type": "spot"}, "spot"),
        ({"karpenter.sh/capacity-type": "reserved"}, "reserved"),
        ({"eks.amazonaws.com/capacityType": "ON_DEMAND"}, "on-demand"),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, "spot"),
        ({"cloud.google.com/gke-spot": "true"}, "spot"),
        ({"cloud.google.com/gke-preemptible": "true"}, "spot"),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, "spot"),
        ({"kubernetes.azure.com/scalesetpriority": "regular"}, "on-demand"),
        ({"node.kubernetes.io/lifecycle": "normal"}, "on-demand"),
    ],
)
def test_the_capacity_type_of_a_node(labels: dict[str, str], expected: str) -> None:
    assert capacity_type(labels) == expected


def test_what_can_be_bought_is_what_has_a_full_size() -> None:
    catalogue = Catalogue(
        [
            InstancePrice("m5.large", "spot", 0.04, "a", 1930, 6903, 29, "amd64"),
            InstancePrice("g4dn.xlarge", "on-demand", 0.526, "", 3920, 14481, 29, "", 1, "Tesla-T4"),
            InstancePrice("of unknown size", "spot", 0.04, cpu_milli=1000, pods=10),
        ]
    )
    small, gpu = offerings(catalogue)
    assert (small.instance_type, small.capacity_type, small.zone, small.price_per_hour) == (
        "m5.large",
        "spot",
        "a",
        0.04,
    )
    assert small.allocatable == {"cpu": 1930, "memory": 6903 * 2**20, "pods": 29}
    assert small.labels == {
        TYPE: "m5.large",
        "karpenter.sh/capacity-type": "spot",
        ZONE: "a",
        "kubernetes.io/arch": "amd64",
    }
    assert gpu.allocatable["nvidia.com/gpu"] == 1
    assert gpu.labels["nvidia.com/gpu.product"] == "Tesla-T4"
    assert ZONE not in gpu.labels
