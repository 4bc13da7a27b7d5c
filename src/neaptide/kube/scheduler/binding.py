"""Binds pods to nodes, until it is certain what became of each binding."""

import asyncio
from collections.abc import Callable

import msgspec

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import (
    ApiError,
    ConfigError,
    Conflict,
    ConnectionLost,
    RateLimited,
    ServerTimeout,
    Unavailable,
)
from neaptide.kubeapi.pace import Backoff
from neaptide.kubeapi.resources import PODS
from neaptide.model.objects import Pod
from neaptide.placement.cycle import events
from neaptide.placement.cycle.actions import Bind

UNCERTAIN = (ConnectionLost, ServerTimeout, Unavailable, RateLimited)
"""After these a write may have been done, and is worth another try."""


class Binder:
    """Carries bindings out.

    A binding whose outcome is unknown is asked for again, of the same node: the pod keeps its room meanwhile, and whatever
    became of the first request, the room that is counted is the room that is taken.

    Args:
        client: the wire, guarded by the lease.
        tell: gets what became of a binding.
        superseded: whether the machine has decided otherwise about a pod (`namespace/name`) meanwhile.
    """

    def __init__(
        self, client: Client, tell: Callable[[events.AnyEvent], None], superseded: Callable[[str], bool]
    ) -> None:
        self._client, self._tell, self._superseded = client, tell, superseded

    async def bind(self, action: Bind) -> None:
        """Bind a pod, and tell what came of it."""
        pod = action.pod
        key = f"{pod.namespace}/{pod.name}"
        error = await self._error(action)
        if error is None:
            self._tell(events.Bound(key, pod.uid))
        elif not self._superseded(key):
            reason, message = (error.reason, error.message) if isinstance(error, ApiError) else ("", str(error))
            self._tell(events.BindFailed(key, pod.uid, reason, message))

    async def _error(self, action: Bind) -> ApiError | ConfigError | None:
        """Why a binding is refused for good; None where the pod is on the node."""
        pod, backoff, asked_before = action.pod, Backoff(0.1, 5.0), False
        while True:
            try:
                await self._client.bind(
                    pod.name, pod.namespace, action.node, uid=pod.uid, annotations=action.annotations
                )
            except UNCERTAIN:
                pass
            except Conflict as conflict:
                try:
                    return None if asked_before and await self._is_bound(action) else conflict
                except UNCERTAIN:
                    pass
                except (ApiError, ConfigError) as error:
                    return error
            except (ApiError, ConfigError) as error:
                return error
            else:
                return None
            asked_before = True
            await asyncio.sleep(backoff.next())

    async def _is_bound(self, action: Bind) -> bool:
        """Whether the pod is where it was to go: an earlier request, whose answer was lost, has brought it there."""
        pod = msgspec.json.decode(await self._client.get(PODS, action.pod.name, action.pod.namespace), type=Pod)
        return pod.metadata.uid == action.pod.uid and pod.spec.node_name == action.node
