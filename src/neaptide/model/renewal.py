"""A snapshot without what nothing refers to any more.

Rows of pods and nodes are used again. Label sets, shapes, classes and the names of workloads are not: a number that was given
once means the same as long as its snapshot lives. Where jobs come and go these grow, so that a snapshot that lives for days
is replaced now and then by one that has only what is in use.
"""

import numpy as np

from neaptide.model.columns import NodeColumns, PodColumns
from neaptide.model.snapshot import ClusterSnapshot

_LIGHT = 5_000  # about 4 MiB


def is_outgrown(snapshot: ClusterSnapshot, renewed_weight: int) -> bool:
    """Whether what nothing refers to may be the larger part of a snapshot, which had this weight when it was new."""
    return weight(snapshot) > 2 * renewed_weight + _LIGHT


def weight(snapshot: ClusterSnapshot) -> int:
    """How much a snapshot holds of what it never gives back."""
    interned = (snapshot.label_sets, snapshot.annotation_sets, snapshot.taint_sets, snapshot.shape_facts)
    rows = snapshot.classes.rows + len(snapshot.workloads.refs) + len(snapshot.changed_nodes)
    return rows + sum(len(each) for each in interned)


def renewed(old: ClusterSnapshot) -> ClusterSnapshot:
    """The same cluster, with rows of nodes and pods as they were and everything else numbered anew; the old one stays as it is."""
    new = ClusterSnapshot()
    _copy_nodes(old.nodes, new.nodes)
    _copy_pods(old.pods, new.pods)
    nodes, pods = slice(0, old.nodes.rows), slice(0, old.pods.rows)
    here = new.words.take(
        old.words,
        old.pods.cls[pods],
        old.nodes.labels[nodes],
        np.concatenate([old.nodes.annotations[nodes], old.pods.annotations[pods]]),
        old.nodes.taints[nodes],
    )
    owners = new.workloads.take(old.workloads, old.pods.owner[pods])
    new.pods.cls[pods] = here.classes[old.pods.cls[pods]]
    new.pods.owner[pods] = owners[old.pods.owner[pods]]
    new.pods.annotations[pods] = here.annotations[old.pods.annotations[pods]]
    new.nodes.labels[nodes] = here.labels[old.nodes.labels[nodes]]
    new.nodes.annotations[nodes] = here.annotations[old.nodes.annotations[nodes]]
    new.nodes.taints[nodes] = here.taints[old.nodes.taints[nodes]]
    new.others = {kind: dict(items) for kind, items in old.others.items()}
    new.offerings, new.coming, new.interruptions = old.offerings, old.coming, old.interruptions
    return new


def _copy_nodes(old: NodeColumns, new: NodeColumns) -> None:
    new.take(old)
    new.names, new.uids, new.resource_versions = old.names.copy(), old.uids.copy(), old.resource_versions.copy()
    new.by_name, new.images = old.by_name.copy(), old.images.copy()


def _copy_pods(old: PodColumns, new: PodColumns) -> None:
    new.take(old)
    for texts, known in zip(new.texts, old.texts, strict=True):
        texts.extend(known)
    new.by_key, new.nominated = old.by_key.copy(), old.nominated.copy()
    new.orphans, new.waits = (
        {node: waiting.copy() for node, waiting in old.orphans.items() if waiting},
        old.waits.copy(),
    )
