"""Zone and region labels of bound volumes."""

import numpy as np

from neaptide.model.columns import Bools
from neaptide.model.storage_objects import PersistentVolume
from neaptide.placement.filters.filter import Filter
from neaptide.placement.filters.volume_restrictions import not_found
from neaptide.placement.view import Pod, View
from neaptide.placement.volumes import class_name

REASON = "node(s) had no available volume zone"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
BETA = {"failure-domain.beta.kubernetes.io/zone": ZONE, "failure-domain.beta.kubernetes.io/region": REGION}
KEYS = (*BETA, ZONE, REGION)
_SEPARATOR = "__"


class VolumeZone(Filter, frozen=True, tag="VolumeZone"):
    """A node that is in some zone or region must be in one that the labels of each bound volume name."""

    def refusal(self, view: View, pod: Pod) -> str | None:
        for claim in view.volumes.claims(pod.cls):
            if claim.ephemeral:
                continue
            if claim.object is None:
                return not_found(claim.name)
            name = claim.object.spec.volume_name
            if name and view.volumes.volume(name) is None:
                return f'persistentvolume "{name}" not found'
            if name or view.volumes.waits(claim.object):
                continue
            storage_class = class_name(claim.object)
            if not storage_class:
                return "PersistentVolumeClaim had no pv name and storageClass name"
            if view.volumes.storage_class(claim.object) is None:
                return f'storageclass.storage.k8s.io "{storage_class}" not found'
            return "PersistentVolume had no name"
        return None

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        failed = np.zeros(view.nodes.rows, dtype=np.bool_)
        for claim in view.volumes.claims(pod.cls):
            if claim.object is None or claim.ephemeral:
                continue
            volume = view.volumes.volume(claim.object.spec.volume_name)
            if volume is not None:
                failed |= _elsewhere(view, volume)
        if failed.any():
            failed &= np.any([view.nodes.labels.column(key) >= 0 for key in KEYS], axis=0)
        return {REASON: failed}


def _elsewhere(view: View, volume: PersistentVolume) -> Bools:
    """bool[nodes]: nodes outside the zones or regions that a volume's labels name."""
    labels = view.nodes.labels
    failed = np.zeros(view.nodes.rows, dtype=np.bool_)
    for key in KEYS:
        named = {part.strip() for part in volume.metadata.labels.get(key, "").split(_SEPARATOR)}
        if "" in named:
            continue  # no label, or one that names nothing
        inside = np.zeros(view.nodes.rows, dtype=np.bool_)
        absent = np.ones(view.nodes.rows, dtype=np.bool_)
        for spelling in dict.fromkeys((key, BETA.get(key, key))):  # the beta label counts where a node has it
            numbers = labels.column(spelling)
            allowed = np.array([value in named for value in labels.values(spelling)] + [False])
            inside |= absent & allowed[numbers]
            absent &= numbers < 0
        failed |= ~inside
    return failed
