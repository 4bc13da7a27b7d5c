"""The objects that a pod's environment, volumes and images are made of, asked for at its API server."""

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from neaptide.virtualnode.provider import ProviderError, VirtualPod


class MissingError(ProviderError):
    """An object or a key that a pod needs is not there (yet)."""

    reason = "CreateContainerConfigError"


class Token(NamedTuple):
    """A service account's token, and when it expires (epoch seconds)."""

    text: str
    expires: float


class Objects(Protocol):
    """Where Secrets, ConfigMaps and tokens come from. All may raise ProviderError."""

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """A Secret's data; None where it is not there."""

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """A ConfigMap's data; None where it is not there."""

    async def token(self, pod: VirtualPod, audience: str, seconds: int) -> Token:
        """A token of the pod's service account that ends with the pod."""


class ApiObjects:
    """From the API server, as the virtual kubelet."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        found = await self._get(SECRETS, namespace, name)
        return None if found is None else {k: base64.b64decode(v) for k, v in (found.get("data") or {}).items()}

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        found = await self._get(CONFIG_MAPS, namespace, name)
        if found is None:
            return None
        text = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        return text | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}

    async def token(self, pod: VirtualPod, audience: str, seconds: int) -> Token:
        account = pod.spec.get("serviceAccountName") or "default"
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
        spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": bound}
        spec |= {"audiences": [audience]} if audience else {}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            answer = await self._client.create(SERVICE_ACCOUNTS, body, pod.namespace, name=account, subresource="token")
        except errors.ApiError as error:
            raise ProviderError(f"no token of the service account {account}: {error}") from error
        status = msgspec.json.decode(answer)["status"]
        return Token(status["token"], datetime.fromisoformat(status["expirationTimestamp"]).timestamp())

    async def _get(self, resource: Any, namespace: str, name: str) -> dict[str, Any] | None:  # noqa: ANN401 - a Resource
        try:
            found: dict[str, Any] = msgspec.json.decode(await self._client.get(resource, name, namespace))
        except errors.NotFound:
            return None
        except errors.ApiError as error:
            raise ProviderError(f"{resource.kind} {namespace}/{name}: {error}") from error
        return found


class Fetched(NamedTuple):
    """What a pod needs, by kind and name: None where it is not there."""

    data: Mapping[tuple[str, str], Mapping[str, bytes] | None]

    def keys(self, kind: str, reference: Mapping[str, Any]) -> Mapping[str, bytes]:
        """An object's data; empty for one that is optional and not there. Raises MissingError."""
        name = reference.get("name") or reference.get("secretName") or ""
        found = self.data.get((kind, name))
        if found is None and not reference.get("optional"):
            raise MissingError(f"{kind} {name!r} not found")
        return found or {}

    def value(self, kind: str, reference: Mapping[str, Any]) -> bytes | None:
        """A key's value; None for one that is optional and not there. Raises MissingError."""
        key = reference["key"]
        found = self.keys(kind, reference).get(key)
        if found is None and not reference.get("optional"):
            raise MissingError(f"couldn't find key {key} in {kind} {reference.get('name')}")
        return found


async def fetch(pod: VirtualPod, objects: Objects) -> Fetched:
    """Everything that a pod's spec names. Raises ProviderError where the API server does not answer."""
    found: dict[tuple[str, str], Mapping[str, bytes] | None] = {}
    for kind, name in dict.fromkeys(_named(pod.spec)):
        ask = objects.secret if kind == "secret" else objects.config_map
        found[kind, name] = await ask(pod.namespace, name)
    return Fetched(found)


def _named(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            yield from (
                (kind, source[field]["name"])
                for kind, field in (("secret", "secretKeyRef"), ("configmap", "configMapKeyRef"))
                if field in source
            )
        for source in container.get("envFrom") or ():
            yield from (
                (kind, source[field]["name"])
                for kind, field in (("secret", "secretRef"), ("configmap", "configMapRef"))
                if field in source
            )
    for volume in spec.get("volumes") or ():
        for source in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
            if "secret" in source:
                yield "secret", source["secret"].get("secretName") or source["secret"].get("name")
            if "configMap" in source:
                yield "configmap", source["configMap"]["name"]
    yield from (("secret", each["name"]) for each in spec.get("imagePullSecrets") or ())
