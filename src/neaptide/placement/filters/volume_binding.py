"""Claims: bound volumes must be reachable, waiting claims bindable, and all others bound already."""

import numpy as np

from neaptide.model.columns import Bools
from neaptide.placement.filters.filter import Filter
from neaptide.placement.filters.volume_restrictions import not_found
from neaptide.placement.view import Pod, View
from neaptide.placement.volumes import Claim, is_bound

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
UNREACHABLE = "node(s) didn't match PersistentVolume's node affinity"
UNBINDABLE = "node(s) didn't find available persistent volumes to bind"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


class VolumeBinding(Filter, frozen=True, tag="VolumeBinding"):
    """Bound claims need a node that meets their volume's node affinity; waiting ones a volume to bind or a provisioner."""

    def refusal(self, view: View, pod: Pod) -> str | None:
        claims = view.volumes.claims(pod.cls)
        for claim in claims:
            problem = _problem(claim) or _not_its_own(view, pod, claim)
            if problem is not None:
                return problem
        known = [each.object for each in claims if each.object is not None]
        settled = all(is_bound(each) or view.volumes.waits(each) for each in known)
        return None if settled else UNBOUND

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        claims = [each.object for each in view.volumes.claims(pod.cls) if each.object is not None]
        if not claims:
            return {}
        rows = np.arange(view.nodes.rows)
        reachable, missing = np.ones(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype=np.bool_)
        for claim in claims:
            if is_bound(claim):
                volume = view.volumes.volume(claim.spec.volume_name)
                if volume is None:
                    missing = reachable.copy()  # the first claim that fails decides
                    break
                reachable &= view.volumes.reachable(volume, rows)
        bindable, _ = view.volumes.bindings([each for each in claims if not is_bound(each)], rows)
        return {UNREACHABLE: ~reachable, UNBINDABLE: ~bindable, NO_VOLUME: missing}


def _problem(claim: Claim) -> str | None:
    """What is wrong with a claim itself."""
    found = claim.object
    if found is None:
        if claim.ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{claim.name}"'
        return not_found(claim.name)
    if found.status.phase == "Lost":
        volume = found.spec.volume_name
        return f'persistentvolumeclaim "{claim.name}" bound to non-existent persistentvolume "{volume}"'
    if found.metadata.deletion_timestamp is not None:
        return f'persistentvolumeclaim "{claim.name}" is being deleted'
    return None


def _not_its_own(view: View, pod: Pod, claim: Claim) -> str | None:
    """That the claim with the name of an ephemeral volume's was made for something else."""
    uid = view.snapshot.pods.uids[pod.row] if pod.row >= 0 else ""
    if not claim.ephemeral or not uid or claim.object is None:
        return None
    meta = claim.object.metadata
    if any(each.controller and each.uid == uid for each in meta.owner_references):
        return None
    name = view.snapshot.pods.keys[pod.row]
    return f"PVC {pod.cls.namespace}/{claim.name} was not created for pod {name} (pod is not owner)"
