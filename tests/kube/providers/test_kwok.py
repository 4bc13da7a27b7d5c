"""The cloud that kwok plays, on a real API server: what it sells, makes, refuses and gives back."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.kube.live import WHY, acted, eventually, found, make, pod, speaking
from tests.testbed.asking import done, items

from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator
from neaptide.kube.providers.kwok import POOL_LABEL, Kwok
from neaptide.kube.providers.kwok_settings import KwokPool, KwokSettings, sold
from neaptide.kubeapi.client import Client
from neaptide.model.actions import FOR_LABEL, Action, CreateNode, DeleteNode, Outcome, Ref
from neaptide.model.cloud import Shortage
from neaptide.model.objects import Taint
from neaptide.model.problems import FieldError
from neaptide.pricing.catalogue import Catalogue, InstancePrice
from neaptide.testbed.cluster import Testbed

CATALOGUE = Catalogue(
    [
        InstancePrice("small", "on-demand", 0.1, zone="", cpu_milli=1900, memory_mib=7000, pods=20),
        InstancePrice("unsized", "on-demand", 0.2),
    ]
)
SETTINGS = KwokSettings(spot_price=0.5, pools=(KwokPool("work", {"team": "tide"}, (Taint("work", "", "NoSchedule"),)),))
SPOT = sold(CATALOGUE, SETTINGS)[1]


@pytest.fixture(autouse=True)
def _nothing_left(control_plane: Testbed) -> Iterator[None]:
    yield
    done(control_plane, "delete", "node", f"--selector={FOR_LABEL}", "--ignore-not-found")


def buying(name: str, **changes: object) -> CreateNode:
    fields = {"policy": "test", "target": Ref("Node", name), "reason": WHY, "offering": SPOT, "node_pool": "work"}
    return CreateNode(**(fields | changes))  # type: ignore[arg-type]


def giving_back(testbed: Testbed, name: str) -> DeleteNode:
    return DeleteNode(
        policy="test", target=Ref("Node", name, uid=found(testbed, "node", name)["metadata"]["uid"]), reason=WHY
    )


def done_by(testbed: Testbed, settings: KwokSettings, *actions: Action) -> tuple[list[Outcome], Kwok]:
    """Carry actions out with a cloud."""

    async def act(client: Client) -> tuple[list[Outcome], Kwok]:
        cloud = Kwok(client, settings, CATALOGUE)
        actuator = Actuator(Api(client, lambda: 0.0, provider=cloud))
        return [each for action in actions for each in await actuator.carry_out([action])], cloud  # type: ignore[list-item]

    return speaking(testbed, act)


def test_it_sells_what_the_catalogue_states_in_full_and_spot_at_a_part_of_the_price() -> None:
    assert [(each.instance_type, each.capacity_type, each.price_per_hour) for each in sold(CATALOGUE, SETTINGS)] == [
        ("small", "on-demand", 0.1),
        ("small", "spot", 0.05),
    ]
    zonal = sold(CATALOGUE, KwokSettings(zones=("a", "b")))
    assert [(each.zone, each.labels["topology.kubernetes.io/zone"]) for each in zonal] == [("a", "a"), ("b", "b")]


def test_a_type_whose_size_is_not_stated_cannot_be_sold() -> None:
    with pytest.raises(FieldError, match=r"instanceTypes: 'unsized' is not accepted"):
        sold(CATALOGUE, KwokSettings(instance_types=("unsized",)))


def test_a_node_that_is_bought_is_what_was_ordered_and_gets_ready(control_plane: Testbed) -> None:
    startup = Taint("starting", "", "NoSchedule")
    outcomes, _ = done_by(control_plane, SETTINGS, buying("bought-1", taints=(startup,)), buying("bought-1"))
    assert [each.result for each in outcomes] == ["Done", "Done"]
    node = found(control_plane, "node", "bought-1")
    labels = node["metadata"]["labels"]
    assert {labels[key] for key in (FOR_LABEL, "kubernetes.io/hostname")} == {"bought-1"}
    assert (labels[POOL_LABEL], labels["team"], labels["karpenter.sh/capacity-type"]) == ("work", "tide", "spot")
    assert labels["neaptide.io/price-per-hour"] == "0.05"
    assert {"work", "starting"} <= {each["key"] for each in node["spec"]["taints"]}
    assert node["status"]["allocatable"] == node["status"]["capacity"]
    eventually(lambda: ready(control_plane, "bought-1"), "kwok plays it")


def test_an_empty_node_is_given_back_and_one_with_pods_stays_open(control_plane: Testbed, namespace: str) -> None:
    done_by(control_plane, SETTINGS, buying("bought-2"))
    make(control_plane, pod("stays", node="bought-2"), namespace=namespace)
    (outcome,), _ = done_by(control_plane, SETTINGS, giving_back(control_plane, "bought-2"))
    assert (outcome.result, outcome.reason.code) == ("Refused", "NotEmpty")
    assert "unschedulable" not in found(control_plane, "node", "bought-2")["spec"]
    done(control_plane, "delete", "pod", "stays", "-n", namespace, "--force", "--grace-period=0")
    (outcome,), _ = done_by(control_plane, SETTINGS, giving_back(control_plane, "bought-2"))
    assert outcome.result == "Done"
    eventually(lambda: not found(control_plane, "node", "bought-2"))


def test_what_has_run_out_is_refused_and_not_offered_for_a_while(control_plane: Testbed) -> None:
    short = KwokSettings(spot_price=0.5, shortages=(Shortage(capacity_type="spot"),))
    (outcome,), cloud = done_by(control_plane, short, buying("bought-3"))
    assert (outcome.result, outcome.reason.code) == ("Refused", "OutOfCapacity")
    assert [each.capacity_type for each in cloud.offerings()] == ["on-demand"]


def test_a_pool_that_is_full_takes_no_more(control_plane: Testbed) -> None:
    small = KwokSettings(spot_price=0.5, pools=(KwokPool("few", maximum=1),))
    outcomes, _ = done_by(
        control_plane, small, buying("bought-4", node_pool="few"), buying("bought-5", node_pool="few")
    )
    assert [(each.result, each.reason.code) for each in outcomes] == [("Done", "Test"), ("Refused", "OutOfCapacity")]


def test_an_order_is_on_its_way_until_its_node_is_there(control_plane: Testbed) -> None:
    async def order(client: Client) -> tuple[list[str], list[str]]:
        cloud = Kwok(client, KwokSettings(spot_price=0.5, delay_seconds=0.2), CATALOGUE)
        await cloud.create(buying("bought-6").order())
        before = [each.order.name for each in cloud.coming()]
        for _ in range(450):
            if not cloud.coming():
                break
            await asyncio.sleep(0.2)
        return before, [each.order.name for each in cloud.coming()]

    assert speaking(control_plane, order) == (["bought-6"], [])
    assert found(control_plane, "node", "bought-6")


@pytest.mark.parametrize(
    ("settings", "nodes", "annotated"),
    [(KwokSettings(failing=1.0), 0, False), (KwokSettings(never_ready=1.0), 1, False), (KwokSettings(), 1, True)],
    ids=["never a node", "never ready", "as ordered"],
)
def test_a_cloud_can_fail(control_plane: Testbed, settings: KwokSettings, nodes: int, *, annotated: bool) -> None:
    (outcome,), _ = done_by(control_plane, settings, buying("bought-7"))
    assert outcome.result == "Done"
    made = [each for each in items(control_plane, "nodes") if each["metadata"]["name"] == "bought-7"]
    assert len(made) == nodes
    assert all(("kwok.x-k8s.io/node" in each["metadata"].get("annotations", {})) == annotated for each in made)


def test_without_a_provider_nothing_is_bought(control_plane: Testbed) -> None:
    assert acted(control_plane, buying("bought-8")) == [("Refused", "NoProvider")]


def ready(testbed: Testbed, name: str) -> bool:
    conditions = found(testbed, "node", name)["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
