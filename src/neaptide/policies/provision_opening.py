"""How bought nodes are handed to the pods that they were bought for, under a scheduler that knows nothing of that.

A node comes with a taint. When it is ready its pods are told (`status.nominatedNodeName`), and when all of them are seen to know, the taint goes:
kube-scheduler tries the nominated node first, and keeps its room for them, so that the cluster is packed as it was planned. A scheduler that
fails to place a pod forgets which node it was nominated to, and it fails as long as that node is not open, whenever something has changed: so pods are
told when nodes have come and not before, are told again, and nodes that get ready together are opened together.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from neaptide.model.actions import FOR_LABEL, AnyAction, Nominate, Reason, Untaint
from neaptide.model.columns import NO_NODE
from neaptide.model.objects import Taint
from neaptide.model.scope import Covers
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.provision_spec import ProvisionSpec

NAME = "provision"
TAINT = "neaptide.io/provisioning"
_TAKES_SECONDS = 120.0
"""A node that was opened that long ago and has not taken a pod that was meant for it will not."""
_SEEN_WITHIN = 10.0
"""Seconds in which an order is seen to be on its way, if it is."""


class Meant(Struct, frozen=True):
    """The pods (`namespace/name`) that a node is bought for; when it was ordered, they were first told, and it was opened (0: not yet)."""

    pods: tuple[str, ...]
    since: float
    told: float = 0.0
    opened: float = 0.0


class Opening(NamedTuple):
    """What is done now, and what is meant for nodes afterwards."""

    actions: list[AnyAction]
    meant: dict[str, Meant]


def taint_of(now: float) -> Taint:
    """What a node is bought with."""
    return Taint(key=TAINT, value=f"neaptide.{now:.0f}", effect="NoSchedule")


def is_gated(snapshot: ClusterSnapshot, node: int) -> bool:
    """Whether a node (row) has not been opened."""
    return any(each.key == TAINT for each in snapshot.node_taints(node))


def opening(
    snapshot: ClusterSnapshot, spec: ProvisionSpec, meant: Mapping[str, Meant], covers: Covers, now: float
) -> Opening:
    """Tell the pods of nodes that are ready; open these nodes when all have been told, or have been for too long."""
    left = _still_meant(snapshot, spec, meant, now)
    ready = [node for node in gated(snapshot) if snapshot.nodes.ready[node] and covers(snapshot.node_ref(node))]
    joined = [float(snapshot.nodes.created[node]) for node in ready]
    if not ready or (now - max(joined) < spec.batch_idle_seconds and now - min(joined) < spec.batch_max_seconds):
        return Opening([], left)
    names = [_called(snapshot, node) for node in ready]
    lacking = [
        _nomination(snapshot, pod, node)
        for node, name in zip(ready, names, strict=True)
        for pod in _waiting_of(snapshot, left.get(name))
        if snapshot.pods.nominated.get(pod) != snapshot.nodes.names[node]
    ]
    ours = [name for name in names if name in left]
    first = min((left[name].told for name in ours if left[name].told), default=now)
    if lacking and now - first < spec.batch_max_seconds:
        told = {name: replace(left[name], told=left[name].told or now) for name in ours}
        return Opening(list(lacking), left | told)
    why = Reason("Opened", "it is ready, and the pods that it was bought for know it")
    opened = [Untaint(policy=NAME, target=snapshot.node_ref(node), reason=why, key=TAINT) for node in ready]
    return Opening(list(opened), left | {name: replace(left[name], opened=now) for name in ours})


def _still_meant(
    snapshot: ClusterSnapshot, spec: ProvisionSpec, meant: Mapping[str, Meant], now: float
) -> dict[str, Meant]:
    """What is meant for nodes that are on their way, there and not opened, or opened a short while ago."""
    if not meant:
        return {}
    expected = {each.order.name for each in snapshot.coming} | {_called(snapshot, node) for node in gated(snapshot)}
    return {
        name: each
        for name, each in meant.items()
        if (each.opened and now - each.opened <= _TAKES_SECONDS)
        or (now - each.since <= spec.start_seconds and name in expected)
        or now - each.since < _SEEN_WITHIN
    }


def promises(snapshot: ClusterSnapshot, spec: ProvisionSpec, meant: Mapping[str, Meant], now: float) -> dict[int, str]:
    """By pod (row) that waits, the node that it will be on, as it is called or, where it has not joined, ordered."""
    nodes = snapshot.nodes
    found: dict[int, str] = {}
    for pod, name in snapshot.pods.nominated.items():
        row = nodes.by_name.get(name)
        if row is not None and snapshot.pods.node[pod] == NO_NODE:
            order = meant.get(_called(snapshot, row))
            since = order.opened if order is not None and order.opened else float(nodes.created[row])
            limit = _TAKES_SECONDS if nodes.ready[row] else spec.start_seconds
            if not _called(snapshot, row) or now - since <= limit:
                found[pod] = name
    joined = {_called(snapshot, node): nodes.names[node] for node in gated(snapshot)} if meant else {}
    for name, each in meant.items():
        if not each.opened:
            found |= dict.fromkeys(_waiting_of(snapshot, each), joined.get(name, name))
    return found


def _nomination(snapshot: ClusterSnapshot, pod: int, node: int) -> Nominate:
    name = snapshot.nodes.names[node]
    why = Reason("Planned", f"the node {name} was bought for it")
    return Nominate(policy=NAME, target=snapshot.pod_ref(pod), reason=why, node=name)


def _called(snapshot: ClusterSnapshot, node: int) -> str:
    """What the plan that bought a node (row) calls it; empty for one that was not bought."""
    return snapshot.node_labels(node).get(FOR_LABEL, "")


def gated(snapshot: ClusterSnapshot) -> list[int]:
    """The nodes (rows) that have not been opened."""
    ours = {
        number for number, taints in enumerate(snapshot.taint_sets.values) if any(each.key == TAINT for each in taints)
    }
    return [node for node in snapshot.nodes.indices().tolist() if int(snapshot.nodes.taints[node]) in ours]


def _waiting_of(snapshot: ClusterSnapshot, meant: Meant | None) -> Iterator[int]:
    """Those of the pods (rows) that are there and have no node yet."""
    for name in meant.pods if meant is not None else ():
        pod = snapshot.pods.by_key.get(name)
        if pod is not None and snapshot.pods.node[pod] == NO_NODE:
            yield pod
