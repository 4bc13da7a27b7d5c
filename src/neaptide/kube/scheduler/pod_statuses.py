"""What a pod that waits for a node says of itself: the condition PodScheduled and the nominated node, as kube-scheduler writes them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from neaptide.kube.scheduler.binding import UNCERTAIN
from neaptide.kube.scheduler.lanes import Lanes, Pool
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.errors import ApiError, Conflict, NotFound
from neaptide.kubeapi.resources import PODS
from neaptide.model.actions import Ref
from neaptide.model.objects import Pod
from neaptide.placement.cycle.actions import Nominate, SetUnscheduled

_TYPE = "PodScheduled"


class _Wanted(Struct):
    """What is to be written of a pod; None for what stays as it is."""

    pod: Ref
    condition: tuple[str, str] | None = None
    node: str | None = None


class PodStatuses:
    """Writes statuses, each pod's latest only, and none that is as it was written last."""

    def __init__(self, client: Client, lanes: Lanes, pool: Pool) -> None:
        self._client, self._lanes, self._pool = client, lanes, pool
        self._wanted: dict[str, _Wanted] = {}
        self._said: dict[str, tuple[str, str]] = {}
        """By pod: reason and message of a condition that is False; no message where another process wrote it."""

    def unscheduled(self, action: SetUnscheduled) -> None:
        """Say why a pod has no node."""
        key, condition = _key(action.pod), (action.reason, action.message)
        if key in self._wanted or self._said.get(key) != condition:
            self._want(key, action.pod).condition = condition

    def nominate(self, action: Nominate) -> None:
        """Say where room is being made for a pod."""
        self._want(_key(action.pod), action.pod).node = action.node

    def saw(self, pods: Iterable[Pod]) -> None:
        """Pods as the cluster shows them."""
        for pod in pods:
            key = f"{pod.metadata.namespace}/{pod.metadata.name}"
            if pod.spec.node_name:
                self.forget(key)
            elif key not in self._said:
                reasons = [
                    each.reason for each in pod.status.conditions if (each.type, each.status) == (_TYPE, "False")
                ]
                if reasons:
                    self._said[key] = reasons[0], ""

    def forget(self, key: str) -> None:
        """A pod (`namespace/name`) is being bound, or gone: nothing more is to be said of it."""
        self._said.pop(key, None)
        self._wanted.pop(key, None)

    def _want(self, key: str, pod: Ref) -> _Wanted:
        wanted = self._wanted.get(key)
        if wanted is None or wanted.pod != pod:
            wanted = self._wanted[key] = _Wanted(pod)

            async def write() -> None:
                await self._write(key)

            self._lanes.put(key, self._pool, write)
        return wanted

    async def _write(self, key: str) -> None:
        wanted = self._wanted.pop(key, None)
        if wanted is None:
            return
        status: dict[str, Any] = {} if wanted.node is None else {"nominatedNodeName": wanted.node or None}
        if wanted.condition is not None:
            reason, message = wanted.condition
            condition = {"type": _TYPE, "status": "False", "reason": reason, "message": message, "lastProbeTime": None}
            if key not in self._said:
                condition["lastTransitionTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._said[key] = wanted.condition
            status["conditions"] = [condition]
        pod = wanted.pod
        body = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            await self._client.patch(PODS, pod.name, body, pod.namespace, kind=Patch.STRATEGIC, subresource="status")
        except (NotFound, Conflict):
            self.forget(key)
        except UNCERTAIN:
            self._said.pop(key, None)  # the next attempt says it again
        except ApiError:
            self._said.pop(key, None)
            raise


def _key(pod: Ref) -> str:
    return f"{pod.namespace}/{pod.name}"
