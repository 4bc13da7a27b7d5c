"""What pods in another cluster refer to: made there as it is here, kept like that, and taken away with the last pod that needs it."""

import contextlib
from collections.abc import Awaitable, Collection, Mapping

import msgspec
import structlog

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import CONFIG_MAPS, NAMESPACES, SECRETS, SERVICE_ACCOUNTS, SERVICES, Resource
from neaptide.virtualnode.provider import ProviderError, RefusedError, VirtualPod
from neaptide.virtualnode.providers.cluster.spec import ClusterSpec
from neaptide.virtualnode.providers.cluster.translate import OWNER, Needed, needed, remote_object

_RESOURCES: Mapping[str, Resource] = {
    "ConfigMap": CONFIG_MAPS,
    "Secret": SECRETS,
    "ServiceAccount": SERVICE_ACCOUNTS,
    "Service": SERVICES,
}


class Companions:
    """Keeps them.

    Args:
        spec: how the other cluster is used.
        here: the client of the cluster that pods come from; there: the other cluster's.
    """

    def __init__(self, spec: ClusterSpec, here: Client, there: Client) -> None:
        self._spec, self._here, self._there = spec, here, there

    async def make(self, pod: VirtualPod) -> None:
        """A pod's namespace there, and all that it refers to. Raises ProviderError where something is missing or another's."""
        namespace = self._spec.namespace_of(pod.namespace)
        await self._make_namespace(namespace)
        for each in self._needed(pod):
            await self._bring(each, pod.namespace, namespace)

    async def clear(self, pod: VirtualPod, others: Collection[VirtualPod]) -> None:
        """Delete what a removed pod referred to there, but for what another one needs."""
        kept = {
            (self._spec.namespace_of(each.namespace), want.kind, want.name)
            for each in others
            for want in self._needed(each)
        }
        namespace = self._spec.namespace_of(pod.namespace)
        for each in self._needed(pod):
            if (namespace, each.kind, each.name) in kept:
                continue
            resource = _RESOURCES[each.kind]
            with contextlib.suppress(errors.NotFound):
                if await self._is_ours(resource, each.name, namespace):
                    await answered(self._there.delete(resource, each.name, namespace))

    async def refresh(self, pods: Collection[VirtualPod]) -> None:
        """Bring what pods refer to in line with the objects here."""
        wanted = {(pod.namespace, each) for pod in pods for each in self._needed(pod)}
        for namespace, each in sorted(wanted):
            try:
                await self._bring(each, namespace, self._spec.namespace_of(namespace))
            except ProviderError as error:
                structlog.get_logger().warning("an object cannot be refreshed", what=str(each), reason=str(error))

    def _needed(self, pod: VirtualPod) -> tuple[Needed, ...]:
        return tuple(needed(pod, service_accounts=self._spec.service_accounts))

    async def _make_namespace(self, name: str) -> None:
        labels = {OWNER: self._spec.owner}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        with contextlib.suppress(errors.AlreadyExists):
            await answered(self._there.create(NAMESPACES, body))

    async def _bring(self, what: Needed, namespace: str, remote_namespace: str) -> None:
        """Make an object there as it is here. Raises ProviderError where it is missing, or there is another's of its name."""
        resource = _RESOURCES[what.kind]
        try:
            found = msgspec.json.decode(await answered(self._here.get(resource, what.name, namespace)))
        except errors.NotFound as error:
            if what.optional:
                return
            raise ProviderError(f"{what.kind.lower()} {what.name!r} not found") from error
        with contextlib.suppress(errors.NotFound):
            if not await self._is_ours(resource, what.name, remote_namespace):
                raise RefusedError(
                    f"{what.kind} {remote_namespace}/{what.name} in the other cluster is not ours; accepted: another namespacePrefix"
                )
        body = remote_object(what.kind, found, owner=self._spec.owner)
        await answered(self._there.apply(resource, what.name, body, remote_namespace, force=True))

    async def _is_ours(self, resource: Resource, name: str, namespace: str) -> bool:
        """Raises NotFound."""
        there = msgspec.json.decode(await answered(self._there.get(resource, name, namespace)))
        return bool((there["metadata"].get("labels") or {}).get(OWNER) == self._spec.owner)


async def answered(call: Awaitable[bytes]) -> bytes:
    """An answer. What says something of an object is raised as it is; all else as ProviderError."""
    try:
        return await call
    except (errors.NotFound, errors.AlreadyExists, errors.Conflict, errors.Forbidden, errors.Invalid):
        raise
    except errors.ApiError as error:
        raise ProviderError(str(error), retry_after=error.retry_after) from error
