"""Random small clusters as the API server stores them, in which every default plugin of kube-scheduler has something to say."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from tests.placement.clusters import NAMESPACES, amounts, apps, clusters, often, pod_selectors, pods
from tests.placement.random_volumes import Storage, storages, volumes

from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.requests import effective_requests
from neaptide.model.snapshot import ClusterSnapshot

IMAGES = {"web": 40 * 2**20, "app:1": 300 * 2**20, "registry.example.com/ml:2": 3000 * 2**20, "tiny:latest": 2**20}
"""Bytes by name; `web` is listed on nodes as `web:latest`."""


class Scene(Struct):
    """A cluster and pods that are to be placed in it, each as if it came alone."""

    nodes: list[o.Node]
    pods: list[o.Pod]
    namespaces: list[o.Namespace]
    services: list[o.Service]
    workloads: list[o.Workload]
    storage: Storage
    pending: list[o.Pod]

    def objects(self) -> list[AnyObject]:
        """All objects; owners and claims come before the pods that name them."""
        stored = self.storage
        return [
            *self.namespaces,
            *self.services,
            *self.workloads,
            *stored.classes,
            *stored.volumes,
            *stored.claims,
            *stored.csi_nodes,
            *self.nodes,
            *self.pods,
            *self.pending,
        ]

    def snapshot(self) -> ClusterSnapshot:
        """The cluster with the pending pods in it."""
        found = ClusterSnapshot()
        for item in self.objects():
            found.set(item)
        return found

    def __repr__(self) -> str:
        return f"a scene of {len(self.objects())} objects"


@st.composite
def scenes(draw: st.DrawFn, most_nodes: int = 6, most_pending: int = 3) -> Scene:
    """Some scenes are plain: rules on topology alone, and nodes with room for all."""
    plain = draw(st.booleans())
    drawn = draw(clusters(most_nodes=most_nodes, plain=plain))
    storage = draw(storages([node.metadata.name for node in drawn.nodes]) if draw(often(6)) else st.just(Storage()))
    owners = draw(st.lists(workloads, max_size=2, unique_by=lambda each: each.kind))
    names = [f"p{number}" for number in range(draw(st.integers(1, most_pending)))]
    bound = [draw(furnished(pod, storage, owners)) for pod in drawn.pods]
    pending = [draw(furnished(draw(pods(name, plain=plain)), storage, owners)) for name in names]
    return Scene(
        nodes=[stored(draw(with_images(node))) for node in drawn.nodes],
        pods=[stored(draw(resized(pod))) for pod in bound],
        namespaces=[o.Namespace(o.Metadata(name=name, labels=labels)) for name, labels in drawn.namespaces.items()],
        services=draw(st.lists(services, max_size=2, unique_by=lambda each: each.metadata.name)),
        workloads=stored(owners),
        storage=storage,
        pending=[stored(draw(_lost(pod))) for pod in pending],
    )


_spaces = st.sampled_from((*["blue"] * 4, *NAMESPACES))
services = st.builds(
    o.Service,
    st.builds(o.Metadata, name=st.sampled_from(["front", "back"]), namespace=_spaces),
    st.builds(o.ServiceSpec, st.one_of(apps, st.just({"app": "a"}), st.just({}))),
)
workloads = st.builds(
    o.Workload,
    st.sampled_from(["ReplicaSet", "StatefulSet"]),
    st.builds(o.Metadata, name=st.just("owner"), namespace=st.just("blue")),
    st.builds(o.WorkloadSpec, selector=pod_selectors),
)


@st.composite
def furnished(draw: st.DrawFn, pod: o.Pod, storage: Storage, among: list[o.Workload]) -> o.Pod:
    """The pod with init containers, sidecars, overhead, pod-level resources, images, volumes, a priority and an owner."""
    meta, spec = pod.metadata, pod.spec
    first: tuple[o.Container, ...] = ()
    if draw(often(3)):
        first = (draw(_init_containers("first")),)
        first += (draw(_init_containers("second")),) if draw(often(5)) else ()
    names = st.sampled_from(list(IMAGES))
    containers = tuple(replace(each, image=draw(names) if draw(often(3)) else "") for each in spec.containers)
    owners = tuple(
        o.OwnerReference(each.kind, each.metadata.name, "uid-of-owner", "apps/v1", controller=True)
        for each in among
        if each.metadata.namespace == meta.namespace
    )
    spec = replace(
        spec,
        containers=(
            *containers,
            *(o.Container("more", resources=o.Resources(draw(amounts))) for _ in range(draw(often(1)))),
        ),
        init_containers=first,
        overhead={"cpu": "250m", "memory": "100Mi"} if draw(often(1)) else {},
        resources=draw(_pod_level) if draw(often(1)) else None,
        priority=draw(st.sampled_from([0, 1000, -5])),
        volumes=draw(volumes(pod, storage)),
    )
    meta = replace(meta, uid=f"uid-of-{meta.name}", owner_references=owners[:1] if draw(often(5)) else ())
    return replace(pod, metadata=meta, spec=spec)


def _init_containers(name: str) -> st.SearchStrategy[o.Container]:
    return st.builds(
        o.Container,
        st.just(name),
        st.sampled_from(["", *IMAGES]),
        st.sampled_from(["", "Always"]),
        st.builds(o.Resources, amounts),
    )


_pod_level = st.builds(
    o.Resources,
    st.fixed_dictionaries(
        {}, optional={"cpu": st.sampled_from(["3", "5"]), "memory": st.just("4Gi"), "hugepages-2Mi": st.just("2Mi")}
    ),
)


@st.composite
def resized(draw: st.DrawFn, pod: o.Pod) -> o.Pod:
    """Some pods with what an in-place resize has allocated and what the kubelet runs, besides what is asked."""
    if not draw(often(2)):
        return pod
    resizable = st.fixed_dictionaries({}, optional={"cpu": st.sampled_from(["200m", "3"]), "memory": st.just("2Gi")})
    running = st.none() | st.builds(o.Resources, resizable)
    pending = o.Condition("PodResizePending", "True", draw(st.sampled_from(["Deferred", "Infeasible"])))
    status = replace(
        pod.status,
        container_statuses=(draw(st.builds(o.ContainerStatus, st.just("main"), resizable, running)),),
        init_container_statuses=(draw(st.builds(o.ContainerStatus, st.just("first"), resizable, running)),),
        allocated_resources=draw(resizable),
        resources=draw(running),
        conditions=(pending,) if draw(often(4)) else (),
    )
    return replace(pod, status=status)


@st.composite
def _lost(draw: st.DrawFn, pod: o.Pod) -> o.Pod:
    """Once in a while a pod that was bound to a node that is gone."""
    return replace(pod, spec=replace(pod.spec, node_name="gone")) if draw(st.integers(0, 19)) == 19 else pod


@st.composite
def with_images(draw: st.DrawFn, node: o.Node) -> o.Node:
    here = draw(st.lists(st.sampled_from(list(IMAGES)), max_size=2, unique=True))
    images = tuple(o.ContainerImage((name if ":" in name else f"{name}:latest",), IMAGES[name]) for name in here)
    return replace(node, status=replace(node.status, images=images))


def stored(value: Any, labels: Mapping[str, str] | None = {}) -> Any:
    """What is drawn, without what the API server refuses, and with what it fills in.

    Args:
        value: an object, or a part of one.
        labels: those of the pod; None where the API server itself is to fill in.
    """
    if isinstance(value, o.Pod) and labels is not None:
        labels = value.metadata.labels
    if isinstance(value, Struct):
        value = replace(value, **{name: stored(getattr(value, name), labels) for name in value.__struct_fields__})
    if isinstance(value, tuple | list):
        return type(value)(stored(each, labels) for each in value)
    if isinstance(value, o.PodSpec) and value.resources is not None:
        return replace(value, resources=_propagated(value, value.resources))
    if isinstance(value, o.Resources):
        fixed = {
            name: amount for name, amount in value.requests.items() if "/" in name or name.startswith("hugepages-")
        }
        return replace(value, limits=fixed)
    if isinstance(value, o.Requirement) and value.operator in ("Exists", "DoesNotExist"):
        return replace(value, values=())
    if isinstance(value, o.TopologySpreadConstraint):
        return _valid_spread(value)
    return _merged(value, labels) if isinstance(value, o.PodAffinityTerm) else value


def _propagated(spec: o.PodSpec, own: o.Resources) -> o.Resources:
    """A pod's own requests, and of what it does not request itself the sum of its containers'."""
    named = {name for each in (*spec.containers, *spec.init_containers) for name in each.resources.requests}
    total = effective_requests(replace(spec, resources=None, overhead={}))
    sums = {"cpu": f"{total.get('cpu', 0)}m", "memory": str(total.get("memory", 0))}
    asked = {name: amount for name, amount in sums.items() if name in named} | own.requests
    return replace(own, requests=asked)


def _valid_spread(spread: o.TopologySpreadConstraint) -> o.TopologySpreadConstraint:
    if spread.label_selector is None:
        spread = replace(spread, match_label_keys=())
    return spread if spread.when_unsatisfiable == "DoNotSchedule" else replace(spread, min_domains=None)


def _merged(term: o.PodAffinityTerm, labels: Mapping[str, str] | None) -> o.PodAffinityTerm:
    """With the requirements that the keys stand for; a key needs a selector, and is not among both."""
    if term.label_selector is None:
        return replace(term, match_label_keys=(), mismatch_label_keys=())
    others = tuple(key for key in term.mismatch_label_keys if key not in term.match_label_keys)
    if labels is None:
        return replace(term, mismatch_label_keys=others)
    found = [o.Requirement(key, "In", (labels[key],)) for key in term.match_label_keys if key in labels]
    found += [o.Requirement(key, "NotIn", (labels[key],)) for key in others if key in labels]
    selector = replace(term.label_selector, match_expressions=(*term.label_selector.match_expressions, *found))
    return replace(term, label_selector=selector, mismatch_label_keys=others)
