"""Node pools for services, for offline work, and for both: pods are kept off the pools that are not for their band.

What a user has written stays: expressions are added to every term of a required affinity, for terms are alternatives, and a pod that
says itself in which pool it wants to be is left to its author, with a warning where that pool is not for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from neaptide.admission.draft import Draft
from neaptide.admission.protocols import Namespace
from neaptide.model.problems import FieldError
from neaptide.model.qos import PRIORITY_CLASS_LABEL, Band, band_of

MARK = "neaptide.io/pool"
"""A label and a taint of nodes, `online`, `offline` or `shared`; the annotation of a pod that says what was added to it."""
ONLINE, OFFLINE, SHARED = "online", "offline", "shared"
_PREFERENCE = 50


class PoolsSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which pools are for whom. Of several Policies the first that covers a pod counts.

    Attributes:
        pool_label: the label of nodes that names their pool.
        online: pools for services (bands prod and mid).
        offline: pools for offline work (bands batch and free).
        shared: pools for both; a pool that is not named is shared too.
    """

    pool_label: str = "karpenter.sh/nodepool"
    online: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises FieldError for a pool that is named twice, or has no name."""
        seen: set[str] = set()
        for field, names in ((ONLINE, self.online), (OFFLINE, self.offline), (SHARED, self.shared)):
            for name in names:
                if not name or name in seen:
                    raise FieldError(field, name, "names of pools, each in one of online, offline and shared")
                seen.add(name)


class Pools:
    """The rule `pools`."""

    name = "pools"
    spec_type = PoolsSpec

    def admit(self, draft: Draft, namespace: Namespace, spec: PoolsSpec) -> None:
        """Keep a pod off the pools that are not for its band, and let it onto tainted nodes of the others."""
        del namespace
        if _settled(draft):
            return
        side = ONLINE if _band(draft) >= Band.MID else OFFLINE
        other = OFFLINE if side == ONLINE else ONLINE
        own, others = (spec.online, spec.offline) if side == ONLINE else (spec.offline, spec.online)
        chosen = [*_chosen(draft, spec.pool_label)]
        if chosen:
            wrong = [name for name in chosen if name in others]
            if wrong:
                draft.warn(f"this pod asks for the {other} pool {', '.join(wrong)}, and is {side} by its priority")
            return
        draft.require_node({"key": MARK, "operator": "NotIn", "values": [other]})
        if others:
            draft.require_node({"key": spec.pool_label, "operator": "NotIn", "values": list(others)})
        if own:
            draft.prefer_nodes(_PREFERENCE, [{"key": spec.pool_label, "operator": "In", "values": list(own)}])
        for value in (side, SHARED):
            draft.tolerate({"key": MARK, "operator": "Equal", "value": value})
        draft.annotate(MARK, side)

    def mutations(self, spec: PoolsSpec) -> Sequence[str]:
        """None: an expression must be added to every term of an affinity, however many there are, and CEL cannot warn."""
        del spec
        return ()


def _settled(draft: Draft) -> bool:
    """Whether nothing is to be done: the pod says so itself, it was done before, its node is chosen, or it comes with its node."""
    owners = draft.get(("metadata", "ownerReferences")) or ()
    return (
        MARK in draft.annotations
        or bool(draft.get(("spec", "nodeName")))
        or any(owner.get("kind") in ("DaemonSet", "Node") for owner in owners)
    )


def _band(draft: Draft) -> Band:
    """A pod's band: its label or class names it, or its priority does; prod where nothing does."""
    named = {PRIORITY_CLASS_LABEL: draft.get(("spec", "priorityClassName")) or ""}
    priority = draft.get(("spec", "priority"))
    return band_of({**named, **draft.labels}, priority if isinstance(priority, int) else 0)


def _chosen(draft: Draft, pool_label: str) -> Iterator[str]:
    """The pools that a pod asks for by its node selector or required affinity."""
    selector: Mapping[str, Any] = draft.get(("spec", "nodeSelector")) or {}
    if pool_label in selector:
        yield str(selector[pool_label])
    required = draft.get(("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")) or {}
    for term in required.get("nodeSelectorTerms") or ():
        for each in term.get("matchExpressions") or ():
            if each.get("key") == pool_label and each.get("operator") == "In":
                yield from each.get("values") or ()
