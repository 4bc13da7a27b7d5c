"""ReadWriteOncePod claims: one pod in the whole cluster."""

from functools import partial

import numpy as np

from neaptide.model.columns import Bools
from neaptide.placement.classes import PodClass
from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

REASON = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)


class VolumeRestrictions(Filter, frozen=True, tag="VolumeRestrictions"):
    """A claim with the access mode ReadWriteOncePod that a pod uses keeps all others away from every node."""

    def refusal(self, view: View, pod: Pod) -> str | None:
        for claim in view.volumes.claims(pod.cls):
            if claim.object is None and not claim.ephemeral:
                return not_found(claim.name)
        return None

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        counts = view.topology.counts
        for claim in view.volumes.claims(pod.cls):
            if claim.object is None or claim.ephemeral or "ReadWriteOncePod" not in claim.object.spec.access_modes:
                continue
            users = counts.add(("claim", pod.cls.namespace, claim.name), partial(_uses, pod.cls.namespace, claim.name))
            if counts.on_node[users].any():
                return {REASON: np.ones(view.nodes.rows, dtype=np.bool_)}
        return {}


def not_found(claim: str) -> str:
    """What is said of a claim that does not exist."""
    return f'persistentvolumeclaim "{claim}" not found'


def _uses(namespace: str, claim: str, other: PodClass) -> bool:
    return other.namespace == namespace and any(
        each.ephemeral is None
        and each.persistent_volume_claim is not None
        and each.persistent_volume_claim.claim_name == claim
        for each in other.requirements.volumes
    )
