"""What every kind of action needs: its target as it is now, its preconditions looked at again, and ways to say no."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kubeapi import resources
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import Resource
from neaptide.model.actions import Action, Reason
from neaptide.model.protocols import RemoteCloudProvider

WORKLOADS: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        resources.DEPLOYMENTS,
        resources.REPLICA_SETS,
        resources.STATEFUL_SETS,
        resources.DAEMON_SETS,
        resources.JOBS,
        resources.CRON_JOBS,
        resources.REPLICATION_CONTROLLERS,
        resources.CLONE_SETS,
    )
}
RESOURCES: dict[str, Resource] = {"Pod": resources.PODS, "Node": resources.NODES, **WORKLOADS}
"""By kind, where the targets of actions are."""

_STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")


class RefusedError(Exception):
    """The action must not be carried out on what is there now."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.reason = Reason(code, message)


class AlreadyError(RefusedError):
    """What the action wants is so already: there is nothing to do."""


class Api(Struct, frozen=True):
    """What carrying out takes: the wire, whether to do it for real, the time (seconds since the epoch), and who sells nodes.

    `workloads` are custom resources with a scale subresource, by kind.
    """

    client: Client
    now: Callable[[], float]
    dry_run: bool = False
    provider: RemoteCloudProvider | None = None
    workloads: Mapping[str, Resource] = {}

    def resource(self, kind: str) -> Resource | None:
        """Where the targets of a kind are; None for a kind that nothing can be done to."""
        return RESOURCES.get(kind) or self.workloads.get(kind)


async def fresh(action: Action, api: Api) -> bytes:
    """The action's target as the API server has it now.

    Raises:
        RefusedError: it is another object by now, or a precondition no longer holds.
        NotFound: it is not there.
    """
    target = action.target
    resource = api.resource(target.kind)
    if resource is None:  # a Plan may be written by hand
        accepted = ", ".join((*RESOURCES, *api.workloads))
        raise RefusedError("NotAccepted", f"nothing can be done to a {target.kind}; accepted: {accepted}")
    raw = await api.client.get(resource, target.name, target.namespace)
    found = msgspec.json.decode(raw)
    if target.uid and value_at(found, "metadata.uid") != target.uid:
        raise RefusedError("Conflict", f"{target} is another object by now")
    for condition in action.preconditions:
        value = value_at(found, condition.field)
        if value != condition.equals and not (value == "" and condition.equals == "false"):
            raise RefusedError("Conflict", f"{condition.field} is {value!r}, not {condition.equals!r}")
    return raw


def value_at(found: Any, path: str) -> str:  # noqa: ANN401 - plain JSON
    """The value at `spec.nodeName` or `status.allocatable[cpu]` as text, empty where there is none."""
    for name, key in _STEP.findall(path):
        if not isinstance(found, dict):
            return ""
        found = found.get(name or key)
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)
