"""What counts of a pod while its resources are changed in place."""

import pytest

from neaptide.model import objects as o
from neaptide.model.snapshot import ClusterSnapshot

INFEASIBLE = (o.Condition("PodResizePending", "True", "Infeasible"),)
DEFERRED = (o.Condition("PodResizePending", "True", "Deferred"),)


def status(running: str | None, allocated: str = "", name: str = "main") -> o.ContainerStatus:
    resources = o.Resources({"cpu": running}) if running is not None else None
    return o.ContainerStatus(name, {"cpu": allocated} if allocated else {}, resources)


CASES: dict[str, tuple[o.PodStatus, int]] = {
    "nothing is told": (o.PodStatus(), 2000),
    "all is as it is asked": (o.PodStatus(container_statuses=(status("2", "2"),)), 2000),
    "more runs than is asked": (o.PodStatus(container_statuses=(status("3", "2"),)), 3000),
    "more is allocated than runs": (o.PodStatus(container_statuses=(status("1", "4"),)), 4000),
    "an allocation without what runs does not count": (o.PodStatus(container_statuses=(status(None, "4"),)), 2000),
    "a deferred resize counts as asked": (
        o.PodStatus(container_statuses=(status("1", "1"),), conditions=DEFERRED),
        2000,
    ),
    "an infeasible one counts as allocated": (
        o.PodStatus(container_statuses=(status("1", "1"),), conditions=INFEASIBLE),
        1000,
    ),
    "a sidecar's": (o.PodStatus(init_container_statuses=(status("1500m", name="sidecar"),)), 3500),
    "an init container's does not count": (o.PodStatus(init_container_statuses=(status("9", name="first"),)), 2000),
}


@pytest.mark.parametrize("name", CASES)
def test_of_a_resize(name: str) -> None:
    told, expected = CASES[name]
    sidecar = tuple(
        o.Container(each.name, restart_policy="Always", resources=o.Resources({"cpu": "1"}))
        for each in told.init_container_statuses
        if each.name == "sidecar"
    )
    first = (o.Container("first", resources=o.Resources({"cpu": "1"})),)
    main = o.Container("main", resources=o.Resources({"cpu": "2"}))
    snapshot = ClusterSnapshot()
    row = snapshot.set_pod(o.Pod(o.Metadata(name="a", namespace="b"), o.PodSpec((main,), (*first, *sidecar)), told))
    shape = int(snapshot.classes.shape[snapshot.pods.cls[row]])
    cpu = snapshot.resource_row("cpu")
    assert snapshot.shapes.request[cpu, shape] == expected


def test_pods_that_differ_in_their_resize_alone_are_of_two_classes() -> None:
    snapshot = ClusterSnapshot()
    spec = o.PodSpec((o.Container("main", resources=o.Resources({"cpu": "2"})),))
    statuses = (status("1", "1"),)
    for name, conditions in (("a", ()), ("b", INFEASIBLE)):
        snapshot.set(
            o.Pod(o.Metadata(name=name), spec, o.PodStatus(container_statuses=statuses, conditions=conditions))
        )
    assert len({int(number) for number in snapshot.pods.cls[:2]}) == 2
