"""A Policy's scope as a policy is asked with it; what of a plan lies beyond all the same is declined, with the reason."""

from functools import partial

from msgspec.structs import replace

from neaptide.model.actions import AnyAction, CreateNode, Declined, Plan, Reason, Ref
from neaptide.model.objects import Namespace
from neaptide.model.scope import Covers, Scope, everything
from neaptide.model.snapshot import ClusterSnapshot

_EVERYTHING = Scope()
_REASON = Reason("OutOfScope", "the Policy's scope does not cover it")


def covering(scope: Scope, snapshot: ClusterSnapshot) -> Covers:
    """Whether an object of a snapshot is in a scope."""
    return everything if scope == _EVERYTHING else partial(_covers, scope, snapshot)


def within(scope: Scope, plan: Plan, snapshot: ClusterSnapshot) -> Plan:
    """The plan without the actions on objects that a scope does not cover."""
    if scope == _EVERYTHING:
        return plan
    inside: list[AnyAction] = []
    outside: list[Declined] = []
    for action in plan.actions:
        if _is_inside(scope, snapshot, action):
            inside.append(action)
        else:
            outside.append(Declined(action.target, _REASON))
    return replace(plan, actions=tuple(inside), declined=(*plan.declined, *outside))


def _is_inside(scope: Scope, snapshot: ClusterSnapshot, action: AnyAction) -> bool:
    if isinstance(action, CreateNode):
        return scope.covers_node(action.offering.labels)
    return _covers(scope, snapshot, action.target)


def _covers(scope: Scope, snapshot: ClusterSnapshot, target: Ref) -> bool:
    """Whether an object is in scope; a pod is where its namespace, itself and the node that it is on are."""
    if target.kind == "Node":
        node = snapshot.nodes.by_name.get(target.name)
        return node is not None and scope.covers_node(snapshot.node_labels(node))
    namespace: Namespace | None = snapshot.others.get("Namespace", {}).get(target.namespace)
    labels = {} if namespace is None else namespace.metadata.labels
    if target.namespace and not scope.covers_namespace(target.namespace, labels):
        return False
    if target.kind == "Pod":
        pod = snapshot.pods.by_key.get(f"{target.namespace}/{target.name}")
        if pod is None or not scope.covers_pod(snapshot.pod_labels(pod)):
            return False
        on = int(snapshot.pods.node[pod])
        return on < 0 or scope.covers_node(snapshot.node_labels(on))
    row = snapshot.workloads.find(target.kind, target.namespace, target.name)
    workload = None if row is None else snapshot.workloads.objects[row]
    if workload is None:
        return False
    template = workload.spec.template
    return scope.covers_pod(workload.metadata.labels if template is None else template.metadata.labels)
