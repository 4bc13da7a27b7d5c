"""Which pods our own scheduler lets onto virtual nodes, without any admission: those that have opted in and do not need a machine.

A pod's annotation `neaptide.io/virtual-nodes` counts as at admission: `virtual-only` leaves it no real node, unless its author has let it onto virtual
ones already. The other modes come to the same here: real nodes first.
"""

from neaptide.model.columns import Bools, Longs
from neaptide.model.objects import Requirement, Toleration
from neaptide.model.virtual_names import INJECTION, TAINT, TYPE, VIRTUAL
from neaptide.placement.nodes import VIRTUAL_TAINT
from neaptide.placement.view import Pod, View

_SYSTEM = "kube-system"
_IS_VIRTUAL = (Requirement(TYPE, "In", (VIRTUAL,)),)


def may_overflow(view: View, pod: Pod) -> bool:
    """Whether a pod, or its namespace, has opted in and it can run on a virtual node. Whose toleration it is does not matter."""
    cls = pod.cls
    own = cls.labels.get(INJECTION)
    if cls.namespace == _SYSTEM or (own is not None and own != "enabled"):
        return False
    if own is None:
        namespace = view.snapshot.others.get("Namespace", {}).get(cls.namespace)
        if namespace is None or namespace.metadata.labels.get(INJECTION) != "enabled":
            return False
    return not _needs_machine(view, pod)


def tolerations(view: View, pod: Pod) -> tuple[Toleration, ...]:
    """A pod's own, and that of virtual nodes where it may overflow."""
    own = pod.cls.requirements.tolerations
    return (*own, VIRTUAL_TAINT) if may_overflow(view, pod) else own


def only_virtual(view: View, pod: Pod) -> bool:
    """Whether a pod that may overflow is to go nowhere else."""
    requirements = pod.cls.requirements
    if not requirements.virtual_only or any(each.key == TAINT for each in requirements.tolerations):
        return False
    return may_overflow(view, pod)


def virtual_nodes(view: View) -> Bools:
    """bool[rows]: the nodes that are virtual, by their label; to be read only."""

    def evaluate(rows: Longs) -> Bools:
        return view.nodes.labels.meets_all(_IS_VIRTUAL, rows)

    return view.nodes.mask("virtual", 0, None, evaluate)


def _needs_machine(view: View, pod: Pod) -> bool:
    """Sources: ACK's and virtual-kubelet's lists of what their nodes cannot run."""
    requirements = pod.cls.requirements
    if requirements.wants_machine or any(each.host_path is not None for each in requirements.volumes):
        return True
    if any(port.host_port for each in (*requirements.init_containers, *requirements.containers) for port in each.ports):
        return True
    owner = int(view.snapshot.pods.owner[pod.row]) if pod.row >= 0 else -1
    return owner >= 0 and view.snapshot.workloads.refs[owner].kind == "DaemonSet"
