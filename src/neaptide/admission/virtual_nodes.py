"""Pods of namespaces that opt in may, or must, run on virtual nodes.

The label and the taint are those of ACK and virtual-kubelet. What a user has written stays: an expression is added to every term of a
required affinity, for terms are alternatives, and a pod that tolerates the taint already is left to its author.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from neaptide.admission import virtual_nodes_cel
from neaptide.admission.draft import REQUIRED_NODES, Draft
from neaptide.admission.pod_defaults import checked_entries
from neaptide.admission.protocols import Namespace
from neaptide.admission.virtual_names import INJECTION, MODE, PREFERENCE, TAINT, TYPE, UNIT, VIRTUAL
from neaptide.admission.virtual_units import Known, Unit, checked_units, keep_in, unit_of
from neaptide.model.problems import FieldError

SPREAD = "spread"
Mode = Literal["prefer-real", "overflow", "virtual-only", "spread"]
_VIRTUAL = {"key": TYPE, "operator": "In", "values": [VIRTUAL]}
MODES = ("prefer-real", "overflow", "virtual-only")
"""Those that a pod can name by itself; the units of `spread` are a Policy's."""


class VirtualNodesSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which virtual nodes pods may run on. Of several Policies the first that covers a pod counts.

    Attributes:
        mode: prefer-real admits virtual nodes and prefers others; overflow admits them only once a scheduler found no real node, which
            `neaptide virtual-node` sees to; virtual-only admits nothing else; spread fills the units.
        provider: the value of the taint to tolerate; any by default.
        labels, annotations: what pods get besides, where they do not have it.
        units: of the mode spread, in the order in which they are filled.
        match_label_keys: labels; pods with the same values of all of them are counted together against the units' maxima.
    """

    mode: Mode = "prefer-real"
    provider: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    units: tuple[Unit, ...] = ()
    match_label_keys: tuple[str, ...] = ("pod-template-hash",)

    def __post_init__(self) -> None:
        """Raises FieldError for what the API server would refuse on every pod."""
        checked_entries(self.labels, self.annotations)
        if bool(self.units) != (self.mode == SPREAD):
            accepted = "at least one for the mode spread, none for the others"
            raise FieldError("units", [each.name for each in self.units], accepted)
        checked_units(self.units)


class VirtualNodes:
    """The rule `virtualNodes`."""

    name = "virtualNodes"
    spec_type = VirtualNodesSpec

    def admit(self, draft: Draft, namespace: Namespace, spec: VirtualNodesSpec) -> None:
        """Let a pod onto virtual nodes, or say why it cannot run there. Raises RefusedError where every unit is full."""
        if not _opted_in(draft, namespace):
            return
        if _settled(draft):
            if _mode(draft, spec) == "virtual-only" and _is_bound(draft, spec):
                draft.require_node(_VIRTUAL)  # another webhook has added a way to be placed since
            return
        obstacles = list(_obstacles(draft))
        if obstacles:
            draft.warn(f"this pod cannot run on a virtual node: {', '.join(obstacles)}")
            return
        mode = _mode(draft, spec)
        unit = draft.labels.get(UNIT)
        if unit is not None and (mode != SPREAD or all(each.name != unit for each in spec.units)):
            return  # another Policy's, which came first
        known: Known | None = namespace.known.get(self.name)
        if mode == SPREAD and known is None:  # no number is not zero
            draft.warn("the pods of each unit are not counted yet, so this pod was left as it is")
            return
        for key, value in spec.labels.items():
            draft.label(key, value)
        for key, value in spec.annotations.items():
            draft.annotate(key, value)
        if mode == SPREAD and known is not None:
            keep_in(draft, unit_of(draft, spec.units, spec.match_label_keys, known), toleration(spec.provider))
            return
        if mode == "overflow":
            draft.annotate(MODE, mode)
            return
        draft.tolerate(toleration(spec.provider))
        if mode == "virtual-only":
            draft.require_node(_VIRTUAL)
        else:
            draft.prefer_nodes(PREFERENCE, [{"key": TYPE, "operator": "NotIn", "values": [VIRTUAL]}])

    def mutations(self, spec: VirtualNodesSpec) -> Sequence[str]:
        """The same, but that CEL cannot warn: whom something keeps off virtual nodes is left alone in silence. Nor can it count."""
        if spec.mode == SPREAD:
            return ()
        return (virtual_nodes_cel.injecting(spec.mode, toleration(spec.provider), spec.labels, spec.annotations),)


def overflowing(pod: dict[str, Any], namespace: Namespace, provider: str) -> dict[str, Any] | None:
    """The toleration that a pending pod is to get for which no real node was found; None where it is not to go to virtual nodes.

    Pods count that have opted in, and whose admission (by a webhook that was down, say) has not let them there already.
    """
    draft = Draft(pod)
    if UNIT in draft.labels or not _opted_in(draft, namespace) or _settled(draft) or any(_obstacles(draft)):
        return None
    return toleration(provider)


def toleration(provider: str) -> dict[str, Any]:
    """Of the taint of a provider's virtual nodes; of any, where none is named."""
    if provider:
        return {"key": TAINT, "operator": "Equal", "value": provider}
    return {"key": TAINT, "operator": "Exists"}


def _mode(draft: Draft, spec: VirtualNodesSpec) -> str:
    """The one that the pod names, else the Policy's."""
    wanted = draft.annotations.get(MODE)
    return wanted if wanted in MODES else spec.mode


def _is_bound(draft: Draft, spec: VirtualNodesSpec) -> bool:
    """Whether a pod looks as this rule leaves one that may run on virtual nodes only."""
    terms = draft.get((*REQUIRED_NODES, "nodeSelectorTerms")) or ()
    bound = any(_VIRTUAL in (term.get("matchExpressions") or ()) for term in terms)
    return bound and toleration(spec.provider) in (draft.get(("spec", "tolerations")) or ())


def _opted_in(draft: Draft, namespace: Namespace) -> bool:
    if namespace.name == "kube-system":
        return False
    return draft.labels.get(INJECTION, namespace.labels.get(INJECTION)) == "enabled"


def _settled(draft: Draft) -> bool:
    """Whether nothing is to be done: a DaemonSet's pod, or one that tolerates virtual nodes already."""
    owners = draft.get(("metadata", "ownerReferences")) or ()
    tolerations = draft.get(("spec", "tolerations")) or ()
    return any(owner.get("kind") == "DaemonSet" for owner in owners) or any(
        each.get("key") == TAINT for each in tolerations
    )


def _obstacles(draft: Draft) -> Iterator[str]:
    """What a pod asks for that only a machine has."""
    spec = draft.get(("spec",)) or {}
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    yield from (f"volume {each.get('name')} is a hostPath" for each in spec.get("volumes") or () if "hostPath" in each)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        if _privileged(container):
            yield f"container {container.get('name')} is privileged"
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield f"container {container.get('name')} has a hostPort"


def _privileged(container: Mapping[str, Any]) -> bool:
    return bool((container.get("securityContext") or {}).get("privileged"))
