"""The kernels, held against a scan of all nodes and against the rules that the pods came with, on clusters of some size."""

from collections import Counter

import numpy as np
import pytest
from benchmarks.engine import HOST, LEAST, MOST, WITH_TOPOLOGY, ZONE, Scene, scene

from neaptide.model.columns import Longs
from neaptide.placement.engine import Engine
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile

VERSIONS = pytest.mark.parametrize("compiled", [False, True], ids=["numpy", "compiled"])


def placed(found: Scene, profile: Profile, *, compiled: bool) -> Longs:
    view = Placement(found.snapshot, profile).view
    view.topology.classes.meet_all(set(found.snapshot.pods.cls[found.pods].tolist()))
    nodes = Engine(view, profile, compiled=compiled).place(found.pods)
    assert nodes is not None
    return nodes


def scanned(found: Scene, *, most: bool) -> list[int]:
    """Every pod on the best node of all, in integers."""
    nodes = found.snapshot.nodes
    allocatable = nodes.allocatable[:, : nodes.rows]
    used = nodes.used[:, : nodes.rows].copy()
    chosen = []
    for request in found.snapshot.pod_requests(found.pods).T:
        after = used + request[:, None]
        free = ((after <= allocatable) | (request[:, None] == 0)).all(axis=0)
        part = after[:2] if most else allocatable[:2] - after[:2]
        scores = np.where(free, (part * 100 // allocatable[:2]).sum(axis=0) // 2, -1)
        best = int(scores.argmax())
        chosen.append(best if free.any() else -1)
        if free.any():
            used[:, best] += request
    return chosen


@VERSIONS
@pytest.mark.parametrize(("profile", "most"), [(MOST, True), (LEAST, False)], ids=["most allocated", "least allocated"])
@pytest.mark.parametrize(("nodes", "classes", "pods"), [(40, 7, 900), (131, 60, 500), (1, 3, 90)])
def test_a_batch_is_placed_as_a_scan_of_all_nodes_places_it(
    profile: Profile, nodes: int, classes: int, pods: int, *, most: bool, compiled: bool
) -> None:
    found = scene(nodes, classes, pods=pods, seed=nodes)
    assert placed(found, profile, compiled=compiled).tolist() == scanned(found, most=most)


@VERSIONS
@pytest.mark.parametrize("nodes", [12, 90])
def test_no_node_is_given_more_than_it_has_and_no_constraint_is_broken(nodes: int, *, compiled: bool) -> None:
    found = scene(nodes, 35, WITH_TOPOLOGY, pods=700, seed=nodes)
    chosen = placed(found, MOST, compiled=compiled)
    snapshot, there = found.snapshot, chosen >= 0
    snapshot.assign_all(found.pods[there], chosen[there])
    assert (snapshot.free() >= 0).all()
    assert there.any()
    where = {key: [snapshot.node_labels(node)[key] for node in range(snapshot.nodes.rows)] for key in (ZONE, HOST)}
    team_of = [snapshot.pod_labels(pod)["team"] for pod in found.pods]
    for team in set(team_of):
        on = [int(node) for node, of in zip(chosen, team_of, strict=True) if node >= 0 and of == team]
        zones, hosts = (Counter(dict.fromkeys(where[key], 0)) for key in (ZONE, HOST))
        zones.update(where[ZONE][node] for node in on)
        hosts.update(where[HOST][node] for node in on)
        if team.startswith("zonal-spread"):
            assert max(zones.values()) - min(zones.values()) <= 1
        elif team.startswith("hostname-spread"):
            assert max(hosts.values()) - min(hosts.values()) <= 1
        elif team.startswith("zonal-affinity"):
            assert sum(count > 0 for count in zones.values()) <= 1
        elif team.startswith("hostname-anti-affinity"):
            assert max(hosts.values()) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_both_versions_of_the_kernel_place_alike(seed: int) -> None:
    found = scene(60, 40, WITH_TOPOLOGY, pods=400, seed=seed)
    assert placed(found, MOST, compiled=True).tolist() == placed(found, MOST, compiled=False).tolist()
