"""Volume claims that wait for their first consumer: what must be written before a pod that uses them is bound.

As kube-scheduler's plugin VolumeBinding: a claim is annotated with the chosen node, or a volume gets the claim's name; then
the binding waits until the volume controller and the provisioner have done the rest.
"""

from msgspec import Struct

from neaptide.model.actions import Ref
from neaptide.model.snapshot import object_key
from neaptide.model.storage_objects import PersistentVolume, PersistentVolumeClaim
from neaptide.placement.cycle.actions import AnyCycleAction, ClaimVolume, SelectNode
from neaptide.placement.view import View
from neaptide.placement.volumes import SELECTED_NODE, is_bound

WAIT_SECONDS = 600.0
"""kube-scheduler's bindTimeoutSeconds."""
_KINDS = ("PersistentVolumeClaim", "PersistentVolume")


class Held(Struct):
    """What was noted of one pod's claims.

    Attributes:
        claims: keys of the claims that must be bound before the pod is.
        replaced: the objects that were changed in the snapshot, as they were and as they are now.
        selected: the claims that the cluster has shown with their node.
    """

    claims: tuple[str, ...]
    replaced: tuple[tuple[PersistentVolumeClaim | PersistentVolume, PersistentVolumeClaim | PersistentVolume], ...] = ()
    selected: set[str] = set()


class Claims:
    """The claims of the pods that a scheduler has assumed to be on nodes."""

    def __init__(self, view: View) -> None:
        self._view = view

    def reserve(self, pod: int, node: int) -> tuple[Held | None, list[AnyCycleAction]]:
        """Note what a pod's unbound claims get on a node; None where it has none. What must be written, beside."""
        snapshot, cls = self._view.snapshot, self._view.pod(pod).cls
        claims = [each.object for each in self._view.volumes.claims(cls) if each.object is not None]
        unbound = tuple(object_key(each.metadata) for each in claims if not is_bound(each))
        if not unbound:
            return None, []
        before = {(kind, key): item for kind in _KINDS for key, item in snapshot.others.get(kind, {}).items()}
        self._view.volumes.reserve(cls, node)
        replaced = tuple(
            (item, now) for (kind, key), item in before.items() if (now := snapshot.others[kind][key]) is not item
        )
        return Held(unbound, replaced), [self._written(now, node) for _, now in replaced]

    def release(self, held: Held) -> None:
        """Take `reserve` back where the cluster has not shown anything newer."""
        others = self._view.snapshot.others
        for before, assumed in held.replaced:
            kind = type(assumed).__name__
            if others.get(kind, {}).get(object_key(assumed.metadata)) is assumed:
                self._view.snapshot.set(before)

    def is_ready(self, held: Held) -> bool:
        """Whether all claims are bound."""
        return all((claim := self._claim(key)) is not None and is_bound(claim) for key in held.claims)

    def is_lost(self, held: Held) -> bool:
        """Whether a claim is gone, or its provisioner has given the node up, so that another must be chosen."""
        for key in held.claims:
            claim = self._claim(key)
            if claim is None:
                return True
            if SELECTED_NODE not in claim.metadata.annotations and not claim.spec.volume_name and key in held.selected:
                return True
        return False

    def saw(self, held: Held, key: str) -> None:
        """The cluster has shown a claim."""
        claim = self._claim(key)
        if claim is not None and key in held.claims and SELECTED_NODE in claim.metadata.annotations:
            held.selected.add(key)

    def _claim(self, key: str) -> PersistentVolumeClaim | None:
        found: PersistentVolumeClaim | None = self._view.snapshot.others.get("PersistentVolumeClaim", {}).get(key)
        return found

    def _written(self, item: PersistentVolumeClaim | PersistentVolume, node: int) -> AnyCycleAction:
        if isinstance(item, PersistentVolumeClaim):
            return SelectNode(_ref(item), self._view.snapshot.nodes.names[node])
        owner = item.spec.claim_ref
        name, namespace, uid = (owner.name, owner.namespace, owner.uid) if owner else ("", "", "")
        return ClaimVolume(item.metadata.name, Ref("PersistentVolumeClaim", name, namespace, uid))


def _ref(claim: PersistentVolumeClaim) -> Ref:
    meta = claim.metadata
    return Ref("PersistentVolumeClaim", meta.name, meta.namespace, meta.uid)
