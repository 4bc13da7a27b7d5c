"""Workloads of a dump with their pods, in an order and a form in which controllers take up what is there and make nothing new.

Pods are created first, without an owner where a controller adopts what its selector means: a ReplicaSet that comes later finds as many pods
as it wants. A Deployment finds its ReplicaSets in the same way, with templates equal to its own. What asks for more pods than there were
asks for as many as there were.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from neaptide.cli.loading.eligible import admits_only
from neaptide.cli.loading.pods import Classes, Json, annotations_of, spec_of
from neaptide.cli.loading.selection import Labelled, mark
from neaptide.kubeapi import resources as r
from neaptide.kubeapi.resources import Resource
from neaptide.model.actions import Ref
from neaptide.model.objects import (
    LabelSelector,
    Node,
    OwnerReference,
    Pod,
    Workload,
)
from neaptide.model.storage_objects import PersistentVolumeClaim
from neaptide.model.workloads import HASH_LABEL, Workloads, is_finished, is_suspended

ADOPTING = {
    each.kind: each for each in (r.REPLICA_SETS, r.STATEFUL_SETS, r.DAEMON_SETS, r.JOBS, r.REPLICATION_CONTROLLERS)
}
"""Kinds whose controllers adopt pods."""
OWNING = {each.kind: each for each in (r.CRON_JOBS, r.CLONE_SETS)}
"""Kinds that must be there before what they own."""
_OF_ONE_POD = ("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "controller-revision-hash")
_OF_ONE_PLACE = ("nodeName", "schedulingGates")
_REVISION = "deployment.kubernetes.io/revision"
_GROUPS = {kind: each.api_version for kind, each in (ADOPTING | OWNING | {"Node": r.NODES}).items()}


class Own(NamedTuple):
    """A workload, its object where there is one, and what is directly its own: places of pods, rows of workloads."""

    ref: Ref
    item: Workload
    pods: list[int]
    below: list[int]


class Manifest(NamedTuple):
    """An object to be created. `owners` get their UIDs when it is."""

    resource: Resource
    body: Json
    owners: tuple[Ref, ...] = ()


class Draft:
    """The manifests of a dump's workloads and pods.

    Args:
        pods: those that hold something, on nodes that are there.
        workloads: the chains of owners of the snapshot.
        nodes: of the dump.
        claims: by namespace/name.
        classes: learn what the pods need.

    Attributes:
        notes: sentences on what is not as it was.
    """

    def __init__(
        self,
        pods: Sequence[Pod],
        workloads: Workloads,
        nodes: Sequence[Node],
        claims: Mapping[str, PersistentVolumeClaim],
        classes: Classes,
    ) -> None:
        self._pods, self._nodes = pods, nodes
        self._owner = [workloads.owner_of(pod.metadata) for pod in pods]
        self._owns = _owns(workloads, self._owner)
        self._labels = [dict(pod.metadata.labels) for pod in pods]
        self._names = [pod.metadata.name for pod in pods]
        jobs = [row >= 0 and workloads.refs[row].kind == "Job" for row in self._owner]
        self._specs = [spec_of(pod, classes, claims, of_job=job) for pod, job in zip(pods, jobs, strict=True)]
        self._annotations = [annotations_of(pod, of_job=job) for pod, job in zip(pods, jobs, strict=True)]
        self._changed: Counter[str] = Counter()
        labelled = Labelled((each.metadata.namespace or "default", each.metadata.labels) for each in pods)
        self._selectors = {
            row: self._selector(own, labelled) for row, own in self._owns.items() if own.ref.kind in ADOPTING
        }
        for own in self._owns.values():
            if own.ref.kind == "StatefulSet":
                self._number(own)
        self._mark_replica_sets()

    @property
    def notes(self) -> list[str]:
        return [f"{count} {what}" for what, count in self._changed.items()]

    def pods(self) -> list[Manifest]:
        """The pods; those that a controller will adopt have no owner yet."""
        return [self._pod(place) for place in range(len(self._pods))]

    def owning(self) -> list[Manifest]:
        return [self._owning(own) for own in self._owns.values() if own.ref.kind in OWNING]

    def adopting(self) -> list[Manifest]:
        """Without what has finished, and without ReplicaSets that only keep a Deployment's past."""
        return [
            self._adopting(row, own) for row, own in self._owns.items() if row in self._selectors and self._counts(own)
        ]

    def deployments(self) -> list[Manifest]:
        found = [own for own in self._owns.values() if own.ref.kind == "Deployment"]
        return [Manifest(r.DEPLOYMENTS, self._deployment(own)) for own in found]

    def adopted(self) -> int:
        """How many pods will have been adopted in the end."""
        return sum(row in self._selectors for row in self._owner)

    # -- pods --

    def _pod(self, place: int) -> Manifest:
        pod, row = self._pods[place], self._owner[place]
        namespace = pod.metadata.namespace or "default"
        meta: Json = {
            "name": self._names[place],
            "namespace": namespace,
            "labels": self._labels[place],
            "annotations": self._annotations[place],
        }
        owners: tuple[Ref, ...] = ()
        if row not in self._selectors and pod.metadata.owner_references:
            meta["ownerReferences"] = [_reference(each) for each in pod.metadata.owner_references]
            owners = tuple(
                Ref(each.kind, each.name, "" if each.kind == "Node" else namespace)
                for each in pod.metadata.owner_references
            )
        return Manifest(r.PODS, {"metadata": meta, "spec": self._specs[place]}, owners)

    def _number(self, own: Own) -> None:
        """Give a StatefulSet's pods names that it knows, where they have others: 0, 1, 2 and so on."""
        wanted = [f"{own.ref.name}-{number}" for number in range(len(own.pods))]
        free = [name for name in wanted if name not in {self._names[place] for place in own.pods}]
        for place in own.pods:
            if self._names[place] not in wanted:
                self._names[place] = free.pop(0)
                self._changed["pods of StatefulSets have other names"] += 1

    # -- what owns pods --

    def _selector(self, own: Own, labelled: Labelled) -> Json:
        """The owner's own selector where it means its pods and no others, else a mark that they get."""
        selector = own.item.spec.selector
        if labelled.selects_only(own.ref.namespace, selector, own.pods):
            return msgspec.to_builtins(selector)  # type: ignore[no-any-return]
        marked = mark(own.ref.kind, own.ref.namespace, own.ref.name)
        for place in own.pods:
            self._labels[place] |= marked
        return {"matchLabels": marked}

    def _mark_replica_sets(self) -> None:
        """Mark the ReplicaSets of Deployments whose selectors do not mean them and no others, and their pods."""
        rows = [row for row, own in self._owns.items() if own.ref.kind == "ReplicaSet" and own.pods]
        labelled = Labelled((self._owns[row].ref.namespace, self._labels[self._owns[row].pods[0]]) for row in rows)
        place = {row: at for at, row in enumerate(rows)}
        for row, own in self._owns.items():
            if own.ref.kind != "Deployment":
                continue
            mine = [below for below in own.below if below in place]
            if labelled.selects_only(own.ref.namespace, own.item.spec.selector, [place[each] for each in mine]):
                continue
            marked = mark("Deployment", own.ref.namespace, own.ref.name)
            for each in mine:
                for pod in self._owns[each].pods:
                    self._labels[pod] |= marked
            item = msgspec.structs.replace(
                own.item, spec=msgspec.structs.replace(own.item.spec, selector=LabelSelector(match_labels=marked))
            )
            self._owns[row] = own._replace(item=item)

    def _counts(self, own: Own) -> bool:
        if own.ref.kind == "ReplicaSet":
            return bool(own.pods)
        return not is_finished(own.item)

    def _adopting(self, row: int, own: Own) -> Manifest:
        selector, template = self._selectors[row], self._template(own, self._selectors[row])
        spec: Json = {"selector": selector, "template": template}
        meta, wanted = _meta(own), own.item.spec.replicas
        owners: tuple[Ref, ...] = ()
        match own.ref.kind:
            case "ReplicaSet":
                meta["labels"] = template["metadata"]["labels"]
                spec["replicas"] = len(own.pods)
            case "ReplicationController":
                spec |= {"replicas": len(own.pods), "selector": selector.get("matchLabels", {})}
            case "StatefulSet":
                spec |= {"replicas": len(own.pods), "serviceName": own.ref.name, "podManagementPolicy": "Parallel"}
                spec["updateStrategy"] = {"type": "OnDelete"}
            case "DaemonSet":
                spec["updateStrategy"], wanted = {"type": "OnDelete"}, None
                admits_only(template["spec"], self._nodes, {self._pods[place].spec.node_name for place in own.pods})
            case _:
                spec |= _of_job(own)
                wanted, above = own.item.spec.parallelism, own.item.metadata.owner_references
                meta["ownerReferences"] = [_reference(each) for each in above]
                owners = tuple(Ref(each.kind, each.name, own.ref.namespace) for each in above)
        if wanted not in (None, len(own.pods)) and not is_suspended(own.item):
            self._changed["workloads ask for as many pods as there were, not for what they asked for"] += 1
        return Manifest(ADOPTING[own.ref.kind], {"metadata": meta, "spec": spec}, owners)

    def _owning(self, own: Own) -> Manifest:
        if own.ref.kind == "CronJob":
            template = next((self._template(self._owns[row], {}) for row in own.below if self._owns[row].pods), None)
            spec: Json = {
                "schedule": own.item.spec.schedule or "0 0 1 1 *",
                "suspend": bool(own.item.spec.suspend),
                "jobTemplate": {"spec": {"template": template or self._template(own, {}, restart="Never")}},
            }
            if own.item.spec.time_zone:
                spec["timeZone"] = own.item.spec.time_zone
        else:
            selector = msgspec.to_builtins(own.item.spec.selector or LabelSelector())
            spec = {"replicas": len(own.pods), "selector": selector, "template": self._template(own, selector)}
        return Manifest(OWNING[own.ref.kind], {"metadata": _meta(own), "spec": spec})

    def _deployment(self, own: Own) -> Json:
        """Over ReplicaSets that it adopts: the newest has its template; of several it would make one, so it is paused."""
        running = sorted((row for row in own.below if self._owns[row].pods), key=lambda row: _revision(self._owns[row]))
        replicas = sum(len(self._owns[row].pods) for row in running)
        selector = msgspec.to_builtins(own.item.spec.selector or LabelSelector())
        newest = self._owns[running[-1]] if running else own
        template = self._template(newest, self._selectors[running[-1]] if running else selector)
        template["metadata"]["labels"].pop(HASH_LABEL, None)
        if own.item.spec.replicas not in (None, replicas) and not is_suspended(own.item):
            self._changed["workloads ask for as many pods as there were, not for what they asked for"] += 1
        spec = {"replicas": replicas, "selector": selector, "template": template, "paused": len(running) > 1}
        return {"metadata": _meta(own), "spec": spec}

    def _template(self, own: Own, selector: Mapping[str, Any], *, restart: str = "") -> Json:
        """A template of an owner's pods: the first of them, else what little the dump says of it."""
        if own.pods:
            first = own.pods[0]
            labels = {key: value for key, value in self._labels[first].items() if key not in _OF_ONE_POD}
            spec = deepcopy({key: each for key, each in self._specs[first].items() if key not in _OF_ONE_PLACE})
            return {"metadata": {"labels": labels, "annotations": self._annotations[first]}, "spec": spec}
        known = own.item.spec.template
        labels = (known.metadata.labels if known else {}) | dict(selector.get("matchLabels", {}))
        spec = {"containers": [{"name": "c0", "image": "neaptide.io/loaded:none"}]}
        if restart or own.ref.kind == "Job":
            spec["restartPolicy"] = "Never"
        if known and known.spec.priority_class_name:
            spec["priorityClassName"] = known.spec.priority_class_name
        return {"metadata": {"labels": labels}, "spec": spec}


def _owns(workloads: Workloads, owner: Iterable[int]) -> dict[int, Own]:
    """By row, the workloads of kinds that can be made: those with an object, and those that own something."""
    pods, below = defaultdict(list), defaultdict(list)
    for place, row in enumerate(owner):
        pods[row].append(place)
    for row, parent in enumerate(workloads.columns.parent[: len(workloads.refs)].tolist()):
        below[parent].append(row)
    kinds = ADOPTING.keys() | OWNING.keys() | {"Deployment"}
    return {
        row: Own(ref, workloads.objects[row] or Workload(ref.kind), pods[row], below[row])
        for row, ref in enumerate(workloads.refs)
        if ref.kind in kinds
    }


def _of_job(own: Own) -> Json:
    """As many pods at once as there are; of the runs that it wants those that are left."""
    active, wanted = len(own.pods), own.item.spec.completions
    spec: Json = {"parallelism": active, "manualSelector": True, "suspend": bool(own.item.spec.suspend) and not active}
    if spec["suspend"]:
        spec["parallelism"] = own.item.spec.parallelism if own.item.spec.parallelism is not None else 1
    if wanted is not None:
        spec["completions"] = max(wanted - own.item.status.succeeded, active, 1)
    return spec


def _revision(own: Own) -> tuple[int, str]:
    number = own.item.metadata.annotations.get(_REVISION, "")
    return int(number) if number.isdecimal() else 0, own.item.metadata.creation_timestamp or ""


def _meta(own: Own) -> Json:
    meta = own.item.metadata
    kept = {
        key: value
        for key, value in meta.annotations.items()
        if key != "kubectl.kubernetes.io/last-applied-configuration"
    }
    return {"name": own.ref.name, "namespace": own.ref.namespace, "labels": dict(meta.labels), "annotations": kept}


def _reference(owner: OwnerReference) -> Json:
    """An owner that stays; its UID is put in when it is known, and is made up for what this cluster does not have."""
    return {
        "apiVersion": owner.api_version or _GROUPS.get(owner.kind, "v1"),
        "kind": owner.kind,
        "name": owner.name,
        "uid": str(uuid5(NAMESPACE_URL, f"{owner.kind}/{owner.name}")),
        "controller": owner.controller is not False,
    }
