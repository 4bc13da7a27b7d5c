"""Actions carried out in the simulated cluster, each after its preconditions were looked at again."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from neaptide.model import objects
from neaptide.model.actions import (
    Annotate,
    AnyAction,
    Cordon,
    CreateNode,
    DeleteNode,
    Evict,
    Nominate,
    Outcome,
    Reason,
    Ref,
    Resume,
    Scale,
    SetNodeResources,
    Suspend,
    Taint,
    Tolerate,
    Uncordon,
    Untaint,
)
from neaptide.model.cloud import CloudError, OutOfCapacityError
from neaptide.model.columns import PHASES
from neaptide.policies.protection import comes_with_node, is_over
from neaptide.simulator.budgets import DisruptionBudgets
from neaptide.simulator.cluster import Cause, Cluster
from neaptide.simulator.machines import Machines


@runtime_checkable
class Suspendable(Protocol):
    """A controller whose pods can be stopped and its starts held."""

    suspended: bool

    def suspend(self, cause: Cause) -> None: ...
    def resume(self) -> None: ...


@runtime_checkable
class Scalable(Protocol):
    """A controller whose number of pods can be set."""

    suspended: bool

    def scale(self, replicas: int) -> None: ...
    def scaled(self) -> int: ...


Find = Callable[[Ref], object | None]
"""The controller of a workload."""


class Actuator:
    """Does what an API server and its controllers would do with an action."""

    def __init__(self, cluster: Cluster, machines: Machines, budgets: DisruptionBudgets, find: Find) -> None:
        self._cluster, self._machines, self._budgets, self._find = cluster, machines, budgets, find

    def carry_out(self, action: AnyAction) -> Outcome:
        """Do one action, or say why not."""
        if isinstance(action, CreateNode):
            return self._outcome(action, self._buy(action))
        uid = self._uid(action.target)
        if uid is None:
            return Outcome(action, "Refused", Reason("NotFound", f"404: {action.target} is not there"))
        if action.target.uid not in ("", uid):
            return Outcome(action, "Refused", Reason("Conflict", f"409: {action.target} is another object by now"))
        state = self._state(action.target) if action.preconditions else {}
        for condition in action.preconditions:
            if state.get(condition.field) != condition.equals:
                found = state.get(condition.field, "unknown")
                message = f"409: {condition.field} is {found}, not {condition.equals}"
                return Outcome(action, "Refused", Reason("Conflict", message))
        match action:
            case Evict():
                refusal = self._evict(action)
            case Suspend() | Resume():
                refusal = self._switch(action)
            case Scale():
                refusal = self._scale(action)
            case DeleteNode():
                refusal = self._delete(action)
            case Nominate():
                refusal = None
                self._cluster.snapshot.nominate(self._cluster.snapshot.pods.by_key[_key(action.target)], action.node)
            case Tolerate():
                refusal = self._tolerate(action)
            case _:
                refusal = None
                self._change_node(action)
        return self._outcome(action, refusal)

    def _outcome(self, action: AnyAction, refusal: Reason | None) -> Outcome:
        return Outcome(action, "Done", action.reason) if refusal is None else Outcome(action, "Refused", refusal)

    def _change_node(self, action: SetNodeResources | Taint | Untaint | Cordon | Uncordon | Annotate) -> None:
        machines, name = self._machines, action.target.name
        match action:
            case SetNodeResources():
                machines.set_resources(name, action.resources)
            case Taint():
                machines.taint(name, objects.Taint(key=action.key, value=action.value, effect=action.effect))
            case Untaint():
                machines.untaint(name, action.key, action.effect)
            case Annotate():
                machines.annotate(name, action.key, action.value)
            case Cordon() | Uncordon():
                machines.cordon(name, unschedulable=isinstance(action, Cordon))

    def _buy(self, action: CreateNode) -> Reason | None:
        try:
            self._machines.create(action.order())
        except OutOfCapacityError as error:
            return Reason("OutOfCapacity", str(error))
        except CloudError as error:
            return Reason("NotSold", str(error))
        return None

    def _delete(self, action: DeleteNode) -> Reason | None:
        snapshot = self._cluster.snapshot
        row = snapshot.nodes.by_name[action.target.name]
        others = (pod for pod in snapshot.pods_on(row) if not comes_with_node(snapshot, pod))
        staying = next((pod for pod in others if not is_over(snapshot, pod)), None)
        if action.lost and snapshot.nodes.ready[row]:
            return Reason("Ready", "it answers again")
        if staying is not None and not action.lost:
            return Reason("NotEmpty", f"{snapshot.pod_ref(staying)} is on it")
        self._machines.delete(action.target.name)
        return None

    def _evict(self, action: Evict) -> Reason | None:
        snapshot = self._cluster.snapshot
        pod = snapshot.pods.by_key[_key(action.target)]
        node = int(snapshot.pods.node[pod])
        if node < 0 or snapshot.nodes.names[node] != action.node:
            return Reason("Moved", f"the pod is no longer on node {action.node}")
        if not np.isnan(snapshot.pods.deleted[pod]):
            return Reason("Terminating", "the pod is going already")
        refusal = None if action.past_budgets else self._budgets.refusal(pod)
        if refusal is None:
            self._cluster.stop(pod, _cause(action), grace=action.grace_seconds)
        return refusal

    def _tolerate(self, action: Tolerate) -> Reason | None:
        snapshot = self._cluster.snapshot
        pod = snapshot.pods.by_key[_key(action.target)]
        node = int(snapshot.pods.node[pod])
        if node >= 0:
            return Reason("Bound", f"it is on node {snapshot.nodes.names[node]}")
        if not np.isnan(snapshot.pods.deleted[pod]):
            return Reason("Terminating", "the pod is going")
        operator = "Equal" if action.value else "Exists"
        new = objects.Toleration(key=action.key, operator=operator, value=action.value, effect=action.effect)
        if new in snapshot.shape_of_pod(pod).requirements.tolerations:
            return Reason("Unchanged", "it has this toleration already")
        self._cluster.tolerate(pod, new)
        return None

    def _switch(self, action: Suspend | Resume) -> Reason | None:
        controller = self._find(action.target)
        if not isinstance(controller, Suspendable):
            return Reason("NotSuspendable", f"a {action.target.kind} cannot be suspended")
        if controller.suspended == isinstance(action, Suspend):
            return Reason("Unchanged", f"it is {'suspended' if controller.suspended else 'not suspended'} already")
        if isinstance(action, Suspend):
            controller.suspend(_cause(action, code="Suspended"))
        else:
            controller.resume()
        return None

    def _scale(self, action: Scale) -> Reason | None:
        controller = self._find(action.target)
        if not isinstance(controller, Scalable):
            return Reason("NotScalable", f"a {action.target.kind} cannot be scaled")
        if controller.suspended:
            return Reason("Suspended", "it is suspended")
        if controller.scaled() != action.was:
            return Reason("Conflict", f"409: it is scaled to {controller.scaled()}, not {action.was}")
        controller.scale(action.replicas)
        return None

    def _uid(self, target: Ref) -> str | None:
        """The UID of the object of that name; None where there is none."""
        if target.kind == "Pod":
            pod = self._pod(target)
            return None if pod is None else self._cluster.snapshot.pods.uids[pod]
        if target.kind == "Node":
            machine = self._machines.by_name.get(target.name)
            return None if machine is None else machine.node.metadata.uid
        workload = self._workload(target)
        return None if workload is None else workload.metadata.uid

    def _state(self, target: Ref) -> Mapping[str, str]:
        """The fields of an object that is there which a precondition can name."""
        if target.kind == "Pod":
            return self._pod_state(self._cluster.snapshot.pods.by_key[_key(target)])
        if target.kind == "Node":
            return _node_state(self._machines.by_name[target.name].current())
        workload = self._workload(target)
        return {} if workload is None else _workload_state(workload)

    def _pod(self, target: Ref) -> int | None:
        return self._cluster.snapshot.pods.by_key.get(_key(target))

    def _workload(self, target: Ref) -> objects.Workload | None:
        workloads = self._cluster.snapshot.workloads
        row = workloads.find(target.kind, target.namespace or "default", target.name)
        return None if row is None else workloads.objects[row]

    def _pod_state(self, pod: int) -> dict[str, str]:
        table = self._cluster.snapshot.pods
        node = int(table.node[pod])
        return {
            "metadata.uid": table.uids[pod],
            "metadata.resourceVersion": table.resource_versions[pod],
            "spec.nodeName": self._cluster.snapshot.nodes.names[node] if node >= 0 else "",
            "status.phase": PHASES[int(table.phase[pod])],
        }


def _node_state(node: objects.Node) -> dict[str, str]:
    amounts = {f"status.allocatable[{name}]": text for name, text in node.status.allocatable.items()}
    return amounts | {
        "metadata.uid": node.metadata.uid,
        "spec.unschedulable": str(node.spec.unschedulable).lower(),
    }


def _workload_state(workload: objects.Workload) -> dict[str, str]:
    return {
        "metadata.uid": workload.metadata.uid,
        "spec.suspend": str(bool(workload.spec.suspend)).lower(),
        "spec.replicas": str(workload.spec.replicas),
        "spec.parallelism": str(workload.spec.parallelism),
    }


def _key(target: Ref) -> str:
    return f"{target.namespace or 'default'}/{target.name}"


def _cause(action: AnyAction, *, code: str = "") -> Cause:
    return Cause(action.policy, code or action.reason.code, action.reason.message)
