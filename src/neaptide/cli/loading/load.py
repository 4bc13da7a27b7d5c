"""A dump into a cluster whose nodes are played: step by step, so that controllers find what they would make."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from neaptide.cli.loading import surroundings
from neaptide.cli.loading.pods import Classes, Json, claim_of, claim_spec
from neaptide.cli.loading.surroundings import FAKE
from neaptide.cli.loading.workloads import OWNING, Draft, Manifest
from neaptide.kubeapi import resources as r
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import served
from neaptide.kubeapi.errors import AlreadyExists, ApiError, NotFound
from neaptide.kubeapi.resources import Resource
from neaptide.model import objects as o
from neaptide.model import storage_objects as storage
from neaptide.model.actions import Ref
from neaptide.model.any_object import AnyObject
from neaptide.model.workloads import Workloads

RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
_AT_ONCE = 64
_SETTLE = 2.0  # seconds that controllers may lag behind what was created
_PATIENCE = 60.0  # seconds without anything more becoming true
_LOADED = (
    o.Pod,
    o.Node,
    o.Workload,
    o.Namespace,
    o.PodDisruptionBudget,
    o.PriorityClass,
    storage.PersistentVolumeClaim,
)
_LOADED_TOO = (storage.PersistentVolume, storage.StorageClass, storage.CSINode)

Report = Callable[[str], None]


class Loaded(NamedTuple):
    """What became of it: how many objects were created and were there already, what was refused, and sentences on what is not as it was."""

    created: int
    there: int
    refused: list[str]
    notes: list[str]


class Step(NamedTuple):
    """Objects of a load that may be created at once."""

    what: str
    manifests: list[Manifest]


async def real_nodes(client: Client) -> list[str]:
    """The names of a cluster's nodes that kwok does not play. Raises ApiError."""
    pages = [page async for page in client.list(r.NODES)]
    nodes = [item for page in pages for item in msgspec.json.decode(page, type=_Objects).items]
    return [each.metadata.name for each in nodes if each.metadata.annotations.get(FAKE) != "fake"]


async def load(client: Client, items: Sequence[AnyObject], workloads: Workloads, report: Report) -> Loaded:
    """Create what a dump holds.

    Args:
        client: the wire, as somebody who may create everything.
        items: the objects of the dump.
        workloads: of the snapshot that was built of them.
        report: is told what is being done.

    Raises:
        ApiError: the API server does not answer.
    """
    serves = await served(client)
    nodes = {each.metadata.name: each for each in items if isinstance(each, o.Node)}
    pods, notes = _pods(items, nodes.keys())
    classes = Classes(each for each in items if isinstance(each, o.PriorityClass))
    claims = {_key(each.metadata): each for each in items if isinstance(each, storage.PersistentVolumeClaim)}
    draft = Draft(pods, workloads, list(nodes.values()), claims, classes)
    creation, namespaces = Creation(client), surroundings.namespaces_of(items)
    for step in _ground(items, namespaces, classes, claims, pods):
        report(step.what)
        await creation.of(step.manifests)
    report("service accounts")
    await _until(_accounts(client, creation.namespaces))
    report("owners of workloads")
    await creation.of(each for each in draft.owning() if each.resource in serves)
    for what, manifests in (("pods", draft.pods), ("workloads", draft.adopting), ("deployments", draft.deployments)):
        report(what)
        await creation.of(manifests())
        await asyncio.sleep(_SETTLE)
    report("controllers")
    notes += await _settled(client, creation, draft.adopted())
    return Loaded(creation.created, creation.there, creation.refused, [*notes, *draft.notes, *_left(items, serves)])


def _ground(
    items: Sequence[AnyObject],
    namespaces: list[Json],
    classes: Classes,
    claims: dict[str, storage.PersistentVolumeClaim],
    pods: Sequence[o.Pod],
) -> Iterable[Step]:
    """What pods stand on, in order."""

    def made(resource: Resource, bodies: Iterable[Json]) -> list[Manifest]:
        return [Manifest(resource, body) for body in bodies]

    def those(kind: type, make: Callable[..., Json]) -> Iterable[Json]:
        return [make(each) for each in items if isinstance(each, kind)]

    yield Step("namespaces", made(r.NAMESPACES, namespaces))
    yield Step("priority classes", made(r.PRIORITY_CLASSES, classes.priority_classes()))
    yield Step("runtime classes", made(RUNTIME_CLASSES, classes.runtime_classes()))
    yield Step("nodes", made(r.NODES, those(o.Node, surroundings.node)))
    yield Step("CSI nodes", made(r.CSI_NODES, those(storage.CSINode, surroundings.csi_node)))
    yield Step("storage classes", made(r.STORAGE_CLASSES, those(storage.StorageClass, surroundings.storage_class)))
    yield Step("volumes", made(r.PERSISTENT_VOLUMES, those(storage.PersistentVolume, surroundings.volume)))
    of_pods = {claim_of(pod, each.name) for pod in pods for each in pod.spec.volumes if each.ephemeral}
    kept = [each for key, each in claims.items() if key not in of_pods]
    named = [{"metadata": _named(each.metadata), "spec": claim_spec(each)} for each in kept]
    yield Step("claims", made(r.PERSISTENT_VOLUME_CLAIMS, named))
    yield Step("disruption budgets", made(r.POD_DISRUPTION_BUDGETS, those(o.PodDisruptionBudget, surroundings.budget)))


class Creation:
    """Creates objects, many at once; owners that were created or are there are known by their UIDs."""

    def __init__(self, client: Client) -> None:
        self._client, self._room = client, asyncio.Semaphore(_AT_ONCE)
        self._uids: dict[Ref, str] = {}
        self.created = self.there = 0
        self.refused: list[str] = []
        self.namespaces: set[str] = set()
        self.pods: set[str] = set()

    async def of(self, manifests: Iterable[Manifest]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in manifests:
                tasks.create_task(self._one(each))

    async def _one(self, manifest: Manifest) -> None:
        resource, body, owners = manifest
        meta = body["metadata"]
        namespace = meta.get("namespace") or ("default" if resource.namespaced else "")
        for reference, owner in zip(meta.get("ownerReferences", ()), owners, strict=False):
            reference["uid"] = self._uids.get(owner, reference["uid"])
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        async with self._room:
            try:
                answer = await self._client.create(resource, whole, namespace)
                self.created += 1
            except AlreadyExists:
                answer = await self._client.get(resource, meta["name"], namespace)
                self.there += 1
            except ApiError as error:
                self.refused.append(f"{Ref(resource.kind, meta['name'], namespace)}: {error.message or error}")
                return
        if resource is r.NAMESPACES:
            self.namespaces.add(meta["name"])
        elif resource is r.PODS:
            self.pods.add(f"{namespace}/{meta['name']}")
        elif resource is r.NODES or resource in OWNING.values():
            uid = msgspec.json.decode(answer, type=_Object).metadata.uid
            self._uids[Ref(resource.kind, meta["name"], namespace)] = uid


def _pods(items: Sequence[AnyObject], nodes: Iterable[str]) -> tuple[list[o.Pod], list[str]]:
    """The pods that hold something, and sentences on the others."""
    there, left = set(nodes), Counter[str]()
    kept = []
    for pod in (each for each in items if isinstance(each, o.Pod)):
        if pod.status.phase in ("Succeeded", "Failed"):
            left["pods that have finished were not loaded"] += 1
        elif pod.spec.node_name and pod.spec.node_name not in there:
            left["pods were not loaded, for their nodes are not in the dump"] += 1
        else:
            kept.append(pod)
    return kept, [f"{count} {what}" for what, count in left.items()]


def _left(items: Sequence[AnyObject], serves: set[Resource]) -> list[str]:
    """Sentences on what a dump holds and this does not load."""
    missing = {kind for kind, each in OWNING.items() if each not in serves}
    left: Counter[str] = Counter()
    for each in items:
        kind = each.kind if isinstance(each, o.Workload) else type(each).__name__
        if not isinstance(each, _LOADED + _LOADED_TOO) or kind in missing:
            left[kind] += 1
    unready = sum(
        isinstance(each, o.Node) and not any(c.type == "Ready" and c.status == "True" for c in each.status.conditions)
        for each in items
    )
    found = [f"{count} objects of the kind {kind} were not loaded" for kind, count in sorted(left.items())]
    return found + ([f"{unready} nodes were not ready, and are now"] if unready else [])


async def _accounts(client: Client, namespaces: Iterable[str]) -> AsyncIterator[int]:
    """How many namespaces have no service account yet: without it no pod is accepted."""
    left = list(namespaces)
    while True:
        missing = []
        for name in left:
            try:
                await client.get(r.SERVICE_ACCOUNTS, "default", name)
            except NotFound:
                missing.append(name)
        left = missing
        yield len(left)


async def _settled(client: Client, creation: Creation, adopted: int) -> list[str]:
    """Wait until pods that were loaded run and have their owners; sentences on those of which it does not come true."""
    found = _Settling(adopted, 0)

    async def look() -> AsyncIterator[int]:
        nonlocal found
        while True:
            pages = [page async for page in client.list(r.PODS)]
            pods = [each for page in pages for each in msgspec.json.decode(page, type=_Objects).items]
            mine = [each for each in pods if f"{each.metadata.namespace}/{each.metadata.name}" in creation.pods]
            owned = sum(any(owner.controller for owner in each.metadata.owner_references) for each in mine)
            waiting = sum(bool(each.spec.node_name) and each.status.phase != "Running" for each in mine)
            found = _Settling(adopted - owned, waiting, len(creation.pods) - len(mine), len(pods) - len(mine))
            yield max(found.unowned, 0) + found.waiting

    await _until(look())
    return found.sentences()


class _Settling(NamedTuple):
    unowned: int
    waiting: int
    gone: int = 0
    others: int = 0

    def sentences(self) -> list[str]:
        told = {
            "pods have not been adopted by their controllers": self.unowned,
            "pods do not run on their nodes": self.waiting,
            "pods have been deleted by controllers": self.gone,
            "pods are there besides those of the dump": self.others,
        }
        return [f"{count} {what}" for what, count in told.items() if count > 0]


async def _until(looks: AsyncIterator[int]) -> None:
    """Look until nothing is left, or for a while nothing more has come true."""
    clock = asyncio.get_running_loop()
    least, due, pause = None, clock.time() + _PATIENCE, 0.1
    async for left in looks:
        if least is None or left < least:
            least, due = left, clock.time() + _PATIENCE
        if left == 0 or clock.time() > due:
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)


def _key(meta: o.Metadata) -> str:
    return f"{meta.namespace or 'default'}/{meta.name}"


def _named(meta: o.Metadata) -> Json:
    return {"name": meta.name, "namespace": meta.namespace or "default", "labels": meta.labels}


class _Spec(Struct, rename="camel"):
    node_name: str = ""


class _Status(Struct):
    phase: str = ""


class _Object(Struct):
    metadata: o.Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


class _Objects(Struct):
    items: list[_Object] = []
