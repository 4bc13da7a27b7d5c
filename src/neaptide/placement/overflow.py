"""Which pods our own scheduler lets onto virtual nodes, without any admission: those that have opted in and do not need a machine."""

from neaptide.model.objects import Toleration
from neaptide.model.virtual_names import INJECTION
from neaptide.placement.nodes import VIRTUAL_TAINT
from neaptide.placement.view import Pod, View

_SYSTEM = "kube-system"


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


def _needs_machine(view: View, pod: Pod) -> bool:
    """Sources: ACK's and virtual-kubelet's lists of what their nodes cannot run."""
    requirements = pod.cls.requirements
    if requirements.wants_machine or any(each.host_path is not None for each in requirements.volumes):
        return True
    if any(port.host_port for each in (*requirements.init_containers, *requirements.containers) for port in each.ports):
        return True
    owner = int(view.snapshot.pods.owner[pod.row]) if pod.row >= 0 else -1
    return owner >= 0 and view.snapshot.workloads.refs[owner].kind == "DaemonSet"
