"""The volume claims of pods: what they are bound to, and where the rest of them could be bound or provisioned.

Sources: kube-scheduler v1.36, plugin volumebinding (binder.go), and k8s.io/component-helpers/storage/volume.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from neaptide.model.columns import Bools, Longs
from neaptide.model.objects import Requirement
from neaptide.model.quantity import QuantityError, value
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.storage_objects import ClaimReference, PersistentVolume, PersistentVolumeClaim, StorageClass
from neaptide.placement.classes import PodClass
from neaptide.placement.nodes import Nodes

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


class Claim(NamedTuple):
    """One claim of a pod. `ephemeral`: the API makes it for a generic ephemeral volume of this pod alone."""

    name: str
    ephemeral: bool
    object: PersistentVolumeClaim | None


class Binding(NamedTuple):
    """A claim and a volume that it takes on some nodes (bool[rows asked for])."""

    claim: PersistentVolumeClaim
    volume: PersistentVolume
    where: Bools


class Volumes:
    """The claims, volumes and storage classes of a snapshot, read as they are now."""

    def __init__(self, snapshot: ClusterSnapshot, nodes: Nodes) -> None:
        self._snapshot, self._nodes = snapshot, nodes

    def claims(self, met: PodClass) -> list[Claim]:
        """The claims that pods of a class use, in the order of their volumes."""
        return [
            Claim(source.claim_name, each.ephemeral is not None, self._claim(met.namespace, source.claim_name))
            for each in met.requirements.volumes
            if (source := each.persistent_volume_claim) is not None
        ]

    def _claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        known = self._snapshot.others.get("PersistentVolumeClaim", {})
        found: PersistentVolumeClaim | None = known.get(f"{namespace}/{name}")
        if found is None and namespace == "default":
            found = known.get(name)  # a manifest may leave this namespace out
        return found

    def volume(self, name: str) -> PersistentVolume | None:
        """A persistent volume by name."""
        found: PersistentVolume | None = self._snapshot.others.get("PersistentVolume", {}).get(name)
        return found

    def storage_class(self, claim: PersistentVolumeClaim) -> StorageClass | None:
        """The storage class that a claim names, where there is one."""
        found: StorageClass | None = self._snapshot.others.get("StorageClass", {}).get(class_name(claim))
        return found

    def waits(self, claim: PersistentVolumeClaim) -> bool:
        """Whether a claim is bound only once a pod that uses it has a node."""
        found = self.storage_class(claim)
        return found is not None and found.volume_binding_mode == "WaitForFirstConsumer" and not claim.spec.volume_name

    def reachable(self, volume: PersistentVolume, rows: Longs) -> Bools:
        """bool[len(rows)]: nodes that meet a volume's node affinity; terms on fields are not looked at, as in v1.36."""
        affinity = volume.spec.node_affinity
        if affinity is None or affinity.required is None:
            return np.ones(len(rows), dtype=np.bool_)
        met = np.zeros(len(rows), dtype=np.bool_)
        for term in affinity.required.node_selector_terms:
            if term.match_expressions or term.match_fields:
                met |= self._nodes.labels.meets_all(term.match_expressions, rows)
        return met

    def bindings(self, claims: Iterable[PersistentVolumeClaim], rows: Longs) -> tuple[Bools, list[Binding]]:
        """Where each of a pod's waiting claims finds a volume of its own or can be provisioned, and which volumes they take.

        Claims choose in order of size, each the smallest volume that no other took on that node. Returns bool[len(rows)]
        and the choices.
        """
        possible = np.ones(len(rows), dtype=np.bool_)
        made: list[Binding] = []
        for claim in sorted(claims, key=lambda each: _storage(each.spec.resources.requests)):
            found = np.zeros(len(rows), dtype=np.bool_)
            selected = claim.metadata.annotations.get(SELECTED_NODE)
            if selected is None:
                for volume in self._candidates(claim):
                    here = self.reachable(volume, rows) & ~found
                    for other in made:
                        if other.volume is volume:
                            here &= ~other.where
                    found |= here
                    made.append(Binding(claim, volume, here))
            else:
                possible &= rows == self._snapshot.nodes.by_name.get(selected, -1)
            possible &= found | self._provisionable(claim, rows)
        return possible, made

    def reserve(self, met: PodClass, node: int) -> None:
        """Note in the snapshot what a pod's waiting claims get when it goes to a node, as the scheduler assumes it."""
        waiting = [each.object for each in self.claims(met) if each.object is not None and self.waits(each.object)]
        made = [each for each in self.bindings(waiting, np.array([node]))[1] if each.where[0]]
        for binding in made:
            meta = binding.claim.metadata
            reference = ClaimReference(meta.name, meta.namespace, meta.uid)
            spec = msgspec.structs.replace(binding.volume.spec, claim_ref=reference)
            self._snapshot.set(msgspec.structs.replace(binding.volume, spec=spec))
        for claim in waiting:
            if not any(each.claim is claim for each in made):
                annotations = claim.metadata.annotations | {SELECTED_NODE: self._snapshot.nodes.names[node]}
                meta = msgspec.structs.replace(claim.metadata, annotations=annotations)
                self._snapshot.set(msgspec.structs.replace(claim, metadata=meta))

    def _candidates(self, claim: PersistentVolumeClaim) -> list[PersistentVolume]:
        """The volumes that a claim may take, best first: the one that is reserved for it, or else the smallest."""
        spec, wanted = claim.spec, _storage(claim.spec.resources.requests)
        found = []
        for volume in self._snapshot.others.get("PersistentVolume", {}).values():
            owner = volume.spec.claim_ref
            if (
                class_name(volume) != class_name(claim)
                or (owner is not None and not _is_for(owner, claim))
                or _storage(volume.spec.capacity) < wanted
                or volume.spec.volume_mode != spec.volume_mode
                or volume.spec.volume_attributes_class_name != spec.volume_attributes_class_name
                or volume.metadata.deletion_timestamp is not None
            ):
                continue
            if owner is not None:
                return [volume]
            if (
                volume.status.phase == "Available"
                and (spec.selector is None or labels_match(spec.selector, volume.metadata.labels))
                and set(spec.access_modes) <= set(volume.spec.access_modes)
            ):
                found.append(volume)
        return sorted(found, key=lambda each: _storage(each.spec.capacity))

    def _provisionable(self, claim: PersistentVolumeClaim, rows: Longs) -> Bools:
        """bool[len(rows)]: nodes where a claim's storage class can provision a volume."""
        found = self.storage_class(claim)
        if found is None or found.provisioner in ("", NO_PROVISIONER):
            return np.zeros(len(rows), dtype=np.bool_)
        met = np.full(len(rows), not found.allowed_topologies)
        for term in found.allowed_topologies:
            if term.match_label_expressions:
                wanted = [Requirement(each.key, "In", each.values) for each in term.match_label_expressions]
                met |= self._nodes.labels.meets_all(wanted, rows)
        return met


def class_name(item: PersistentVolumeClaim | PersistentVolume) -> str:
    """The storage class that a claim or volume names; empty where it names none."""
    return item.metadata.annotations.get(CLASS_ANNOTATION, item.spec.storage_class_name or "")


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether the binding of a claim to its volume is complete."""
    complete = BIND_COMPLETED in claim.metadata.annotations or claim.status.phase == "Bound"
    return bool(claim.spec.volume_name) and complete


def _is_for(owner: ClaimReference, claim: PersistentVolumeClaim) -> bool:
    meta = claim.metadata
    return (owner.name, owner.namespace) == (meta.name, meta.namespace) and owner.uid in ("", meta.uid)


def _storage(amounts: dict[str, str]) -> int:
    """Bytes of storage; 0 where none or nothing sensible is named."""
    try:
        return value(amounts.get("storage", "0"))
    except QuantityError:
        return 0
