"""Clusters of tens of nodes and pods, put together from drawn parts by a seeded choice."""

import random
from collections.abc import Iterator

from hypothesis import strategies as st
from msgspec.structs import replace
from tests.placement.clusters import HOST, NAMESPACES, nodes, pods
from tests.placement.random_clusters import (
    Scene,
    furnished,
    resized,
    services,
    stored,
    with_images,
    workloads,
)
from tests.placement.random_volumes import CLAIMS, SPACE, Storage, storages
from tests.placement.samples import samples

from neaptide.model import objects as o
from neaptide.model import storage_objects as storage

NODES, BOUND, PENDING = 30, 50, 40
_PARTS = 300
_SOME_CLAIMS = Storage(
    claims=[storage.PersistentVolumeClaim(o.Metadata(name=name, namespace=SPACE)) for name in CLAIMS]
)


def large_scenes(seed: int) -> Iterator[Scene]:
    """Scenes without end, the same for the same seed. In every other one the pods that are there keep nobody away.

    Of the pending pods a third prefer some nodes and a third have volumes, which few do otherwise.
    """
    of_nodes = samples(
        st.booleans().flatmap(lambda plain: nodes("n", plain=plain)).flatmap(with_images), _PARTS, of_seed=seed
    )
    some = st.booleans().flatmap(lambda plain: pods("p", plain=plain))
    of_owners = samples(workloads, 20, of_seed=seed)
    of_pods = [
        each
        for number, owner in enumerate(of_owners)
        for each in samples(
            some.flatmap(lambda pod, owner=owner: furnished(pod, _SOME_CLAIMS, [owner])).flatmap(resized),  # type: ignore[misc] # binds the owner
            _PARTS // 5,
            of_seed=seed + number,
        )
    ]
    of_storages = samples(storages([f"n{number}" for number in range(NODES)]), _PARTS // 5, of_seed=seed)
    of_services = samples(services, 20, of_seed=seed)
    calm = [each for each in of_pods if _is_calm(each)]
    groups = [
        group for rule in (_prefers_nodes, _has_volumes, _any) if (group := [each for each in of_pods if rule(each)])
    ]
    draws = random.Random(seed)
    while True:
        there = calm if draws.random() < 0.5 else of_pods
        owner = draws.choice(of_owners)
        yield Scene(
            nodes=[stored(_named(draws.choice(of_nodes), number)) for number in range(NODES)],
            pods=[
                stored(_put(_mixed(draws, draws.choice(there), of_pods), f"b{n}", f"n{draws.randrange(NODES)}"))
                for n in range(BOUND)
            ],
            namespaces=[o.Namespace(o.Metadata(name=name, labels={"team": draws.choice("xy")})) for name in NAMESPACES],
            services=[draws.choice(of_services)],
            workloads=[stored(owner)],
            storage=draws.choice(of_storages),
            pending=[
                stored(_put(_mixed(draws, draws.choice(draws.choice(groups)), of_pods), f"p{n}", ""))
                for n in range(PENDING)
            ],
        )


def _is_calm(pod: o.Pod) -> bool:
    affinity = pod.spec.affinity
    return affinity is None or affinity.pod_anti_affinity is None


def _prefers_nodes(pod: o.Pod) -> bool:
    rules = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    return rules is not None and bool(rules.preferred_during_scheduling_ignored_during_execution)


def _has_volumes(pod: o.Pod) -> bool:
    return bool(pod.spec.volumes)


def _any(pod: o.Pod) -> bool:
    del pod
    return True


def _named(node: o.Node, number: int) -> o.Node:
    name = f"n{number}"
    labels = node.metadata.labels | ({HOST: name} if HOST in node.metadata.labels else {})
    return replace(node, metadata=replace(node.metadata, name=name, labels=labels))


def _mixed(draws: random.Random, pod: o.Pod, among: list[o.Pod]) -> o.Pod:
    """The pod with the containers of a second, the overhead of a third and so on: far more pods than were drawn."""
    spec = pod.spec
    for fields in (("containers", "init_containers"), ("overhead",), ("resources",)):
        other = draws.choice(among).spec
        spec = replace(spec, **{name: getattr(other, name) for name in fields})
    return replace(pod, spec=spec, status=draws.choice(among).status)


def _put(pod: o.Pod, name: str, node: str) -> o.Pod:
    """The pod on a node; one that is to be placed has no status yet."""
    status = replace(pod.status, phase="Running") if node else o.PodStatus()
    meta = replace(pod.metadata, name=name, uid=f"uid-of-{name}")
    return replace(pod, metadata=meta, spec=replace(pod.spec, node_name=node), status=status)
