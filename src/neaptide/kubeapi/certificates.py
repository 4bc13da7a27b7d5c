"""The serving certificate, kept in a Secret, made and renewed by whichever replica comes first."""

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.keys import Keys, renewed
from neaptide.kubeapi.pace import Backoff
from neaptide.kubeapi.resources import SECRETS
from neaptide.kubeapi.secret import Secret

_log = logging.getLogger(__name__)
_FIELDS = {"ca.crt": "bundle", "ca.key": "authority_key", "tls.crt": "certificate", "tls.key": "key"}
_TRIES = 10


async def ensure(client: Client, name: str, namespace: str, names: Sequence[str]) -> Keys:
    """The keys of a Secret that may not exist yet, renewed where they have to be.

    Of several replicas that do this at once one wins, by the Secret's resource version, and the others take what it wrote.
    Raises ApiError.
    """
    for _ in range(_TRIES):
        version, keys = await _stored(client, name, namespace)
        fresh = renewed(keys, names, time.time())
        if fresh is None and keys is not None:
            return keys
        if fresh is not None and await _store(client, name, namespace, version, fresh):
            _log.info("secret %s/%s: a new certificate for %s", namespace, name, ", ".join(names))
            return fresh
    raise errors.Conflict(
        409, "Conflict", f"secret {namespace}/{name} was changed {_TRIES} times while it was being renewed"
    )


async def keep(
    client: Client,
    name: str,
    namespace: str,
    names: Sequence[str],
    *,
    exchange: Callable[[Keys], Awaitable[None]],
    every: float = 3600.0,
) -> None:
    """Call `exchange` with the keys now and whenever they change, looking at the Secret every so many seconds. Never ends by itself."""
    backoff = Backoff(1.0, every)
    last: Keys | None = None
    while True:
        try:
            keys = await ensure(client, name, namespace, names)
            if keys != last:
                await exchange(keys)
                last = keys
        except errors.ApiError as error:
            _log.warning("secret %s/%s: its certificate cannot be looked at: %s", namespace, name, error)
            await asyncio.sleep(backoff.next())
        else:
            backoff.reset()
            await asyncio.sleep(every)


async def _stored(client: Client, name: str, namespace: str) -> tuple[str, Keys | None]:
    """The Secret's resource version, empty where there is none, and the keys in it, None where some are missing."""
    try:
        found = msgspec.json.decode(await client.get(SECRETS, name, namespace), type=_SecretObject)
    except errors.NotFound:
        return "", None
    try:
        values = [base64.b64decode(found.data[entry]) for entry in _FIELDS]
    except (KeyError, binascii.Error):
        return found.metadata.resource_version, None
    bundle, authority_key, certificate, key = values
    return found.metadata.resource_version, Keys(bundle, Secret(authority_key), certificate, Secret(key))


async def _store(client: Client, name: str, namespace: str, version: str, keys: Keys) -> bool:
    """Write the keys where the Secret is as it was seen; False where another was faster."""
    data = {entry: base64.b64encode(getattr(keys, field)).decode() for entry, field in _FIELDS.items()}
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": data}
    body["metadata"] = {"name": name} | ({"resourceVersion": version} if version else {})
    try:
        if version:
            del body["type"]  # what it was made with stays
            await client.patch(SECRETS, name, body, namespace)
        else:
            await client.create(SECRETS, body, namespace)
    except (errors.AlreadyExists, errors.Conflict, errors.NotFound):
        return False
    return True


class _Meta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _SecretObject(Struct):
    metadata: _Meta
    data: dict[str, str] = {}
