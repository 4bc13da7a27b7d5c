"""How many volumes of each CSI driver a node can have attached."""

from collections import Counter

import numpy as np

from neaptide.model.columns import Bools
from neaptide.model.storage_objects import CSINode
from neaptide.placement.classes import PodClass
from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

REASON = "node(s) exceed max volume count"

Attached = dict[str, str]
"""Driver by volume, named so that claims of one volume agree."""


class NodeVolumeLimits(Filter, frozen=True, tag="NodeVolumeLimits"):
    """A node's CSINode object says how many volumes of a driver it takes; volumes that are there already count once."""

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        wanted = _volumes(view, pod.cls)
        csi_nodes = view.snapshot.others.get("CSINode", {})
        if not wanted or not csi_nodes:
            return {}
        users = view.topology.counts.add(("claims",), _has_claims)
        holds_any = view.topology.counts.on_node[users] > 0
        exceeded = np.zeros(view.nodes.rows, dtype=np.bool_)
        for name, csi_node in csi_nodes.items():
            node = view.snapshot.nodes.by_name.get(name)
            limits = _limits(csi_node)
            if node is not None and not limits.keys().isdisjoint(wanted.values()):
                attached = _attached(view, node) if holds_any[node] else {}
                exceeded[node] = _exceeds(wanted, attached, limits)
        return {REASON: exceeded}


def _exceeds(wanted: Attached, attached: Attached, limits: dict[str, int]) -> bool:
    held = Counter(attached.values())
    more = Counter(driver for volume, driver in wanted.items() if volume not in attached)
    return any(held[driver] + count > limits[driver] for driver, count in more.items() if driver in limits)


def _limits(csi_node: CSINode) -> dict[str, int]:
    return {
        driver.name: driver.allocatable.count
        for driver in csi_node.spec.drivers
        if driver.allocatable is not None and driver.allocatable.count is not None
    }


def _attached(view: View, node: int) -> Attached:
    """The volumes of all pods on a node."""
    classes = {int(view.snapshot.pods.cls[pod]) for pod in view.snapshot.pods_on(node)}
    return {
        volume: driver
        for number in classes
        for volume, driver in _volumes(view, view.topology.classes.meet(number)).items()
    }


def _volumes(view: View, met: PodClass) -> Attached:
    """The volumes that a class's claims stand for: bound ones by their handle, others by the claim they will be made for."""
    found = {}
    for claim in view.volumes.claims(met):
        if claim.object is None:
            continue
        volume = view.volumes.volume(claim.object.spec.volume_name)
        storage_class = view.volumes.storage_class(claim.object)
        if volume is not None:
            driver = volume.spec.csi.driver if volume.spec.csi else ""
            handle = volume.spec.csi.volume_handle if volume.spec.csi else ""
        else:
            driver = storage_class.provisioner if storage_class else ""
            handle = f"claim {met.namespace}/{claim.name}"
        if driver and handle:
            found[f"{driver}/{handle}"] = driver
    return found


def _has_claims(met: PodClass) -> bool:
    return any(each.persistent_volume_claim is not None for each in met.requirements.volumes)
