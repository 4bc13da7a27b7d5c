"""Admission as a whole: the Policies that it follows, its server with a certificate and the API server's trust, what CEL says instead."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from prometheus_client import CollectorRegistry

from neaptide.admission.colocation import Colocation, Known
from neaptide.admission.pipeline import RuleSetting
from neaptide.admission.protocols import Namespace
from neaptide.kube.rules import rule_settings, say_in_cel, trust
from neaptide.kube.units import Units
from neaptide.kube.webhook import Webhook
from neaptide.kubeapi import certificates
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError, NotFound
from neaptide.kubeapi.keys import Keys
from neaptide.kubeapi.resources import NAMESPACES
from neaptide.kubeapi.server import TlsServer
from neaptide.model.objects import Namespace as NamespaceObject

_LOOK_AGAIN = 15.0  # seconds
_FOLLOW = 1.0


class Place(Struct, frozen=True, kw_only=True):
    """Where the webhook is.

    Attributes:
        namespace: of the Service and the Secret.
        service: the Service through which the API server calls.
        secret: holds the certificate and the authority; made where it is not there.
        configuration: the MutatingWebhookConfiguration that names the Service.
        host: address to listen on.
        port: 0 for one that is free.
        names: further names and addresses that the certificate is for.
    """

    namespace: str
    service: str = "neaptide-webhook"
    secret: str = "neaptide-webhook-tls"  # noqa: S105 - the name of a Secret
    configuration: str = "neaptide"
    host: str = "0.0.0.0"  # noqa: S104 - a pod's address
    port: int = 9443
    names: tuple[str, ...] = ()


def names_of(place: Place) -> list[str]:
    """The names that the certificate is for."""
    service = f"{place.service}.{place.namespace}.svc"
    return [service, f"{service}.cluster.local", *place.names]


async def serve(
    client: Client, webhook: Webhook, place: Place, listening: Callable[[int], object] = lambda _: None
) -> None:
    """Answer reviews until cancelled, renewing the certificate and the API server's trust in it.

    Args:
        client: to read and write the Secret and the configuration.
        webhook: what answers.
        place: where.
        listening: is told the port.

    Raises:
        ApiError: the certificate could not be stored.
        OSError: the port is taken.
    """
    names = names_of(place)
    shown = await certificates.ensure(client, place.secret, place.namespace, names)
    async with TlsServer(webhook.app, shown, host=place.host, port=place.port) as server:
        listening(server.port)

        async def exchange(keys: Keys) -> None:
            nonlocal shown
            server.exchange(keys)
            shown = keys

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.ended())
            tasks.create_task(certificates.keep(client, place.secret, place.namespace, names, exchange=exchange))
            tasks.create_task(_keep_trusted(client, place.configuration, lambda: shown.bundle))


async def _keep_trusted(client: Client, configuration: str, bundle: Callable[[], bytes]) -> None:
    """Until then pods are admitted as they are; an upgrade of the chart may take the trust away again."""
    while True:
        try:
            await trust(client, configuration, bundle())
        except ApiError as error:
            structlog.get_logger().warning("webhook not trusted", configuration=configuration, reason=str(error))
        await asyncio.sleep(_LOOK_AGAIN)


class Admission:
    """What a replica of the controller does for new pods. Every replica answers reviews; the leader writes what CEL says.

    Args:
        client: to read, and for the certificate.
        writer: guarded by the lease.
        policies: the Policy objects, as JSON.
        others: what a snapshot knows of a kind, by name.
        registry: where metrics go.
        place: of the webhook; None serves none.
        in_cel: whether MutatingAdmissionPolicies are written.
        leading: whether this process leads.
    """

    def __init__(
        self,
        client: Client,
        writer: Client,
        *,
        policies: Callable[[], Iterable[bytes]],
        others: Callable[[str], Mapping[str, Any]],
        registry: CollectorRegistry,
        place: Place | None,
        in_cel: bool,
        leading: Callable[[], bool],
    ) -> None:
        self._client, self._writer, self._policies, self._others = client, writer, policies, others
        self._place, self._in_cel, self._leading = place, in_cel, leading
        self._units = Units(client)
        find = Namespaces(client, lambda: others("Namespace"), lambda name: known_of(others) | self._units.known(name))
        self._webhook = Webhook(find, registry, self._units.admitted)
        self._said: list[RuleSetting] | None = None
        self._say_from = 0.0

    async def run(self) -> None:
        """Until cancelled. Raises ApiError and OSError where the server cannot begin."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._units.run())
            if self._place is not None:
                tasks.create_task(serve(self._client, self._webhook, self._place))

    async def _follow(self) -> None:
        """Take up the Policies as they change."""
        while True:
            settings = rule_settings(self._policies(), self._others("PriorityClass"))
            self._webhook.settings = settings
            self._units.wanted_by(settings)
            if not self._leading():
                self._said = None
            elif self._in_cel and settings != self._said and time.monotonic() >= self._say_from:
                await self._say(settings)
            await asyncio.sleep(_FOLLOW)

    async def _say(self, settings: list[RuleSetting]) -> None:
        try:
            await say_in_cel(self._writer, settings)
        except ApiError as error:
            self._say_from = time.monotonic() + _LOOK_AGAIN
            structlog.get_logger().warning("admission policies not written", reason=str(error))
        else:
            self._said = settings


class Namespaces:
    """Namespaces by name: those of a cache, else the API server's, for a pod may be faster than a watch; with what rules are told besides."""

    def __init__(
        self,
        client: Client,
        known: Callable[[], Mapping[str, Any]],
        told: Callable[[str], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        self._client, self._known, self._told = client, known, told

    async def __call__(self, name: str) -> Namespace:
        """Raises LookupError, ApiError."""
        found = self._known().get(name)
        if found is None:
            try:
                found = msgspec.json.decode(await self._client.get(NAMESPACES, name), type=NamespaceObject)
            except NotFound as error:
                raise LookupError(f"there is no namespace {name}") from error
        return Namespace(name, found.metadata.labels, found.metadata.annotations, self._told(name))


def known_of(others: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """What rules are told of a cluster's objects; `others` gives those of a kind by name."""
    profiles = others("ClusterColocationProfile")
    priorities = {name: each.value for name, each in others("PriorityClass").items()}
    return {Colocation.name: Known(tuple(profiles[name] for name in sorted(profiles)), priorities)}
