"""The loop's memory in ConfigMaps: written after every cycle, read by whoever leads next (docs/adr/0003).

Every part (one per policy, one for the arbiter) is compressed and cut into pieces below the 1 MiB that an object may have.
A piece is named after its content and never changes; an index names the pieces. So the index moves from one whole memory to
the next in one write, which holds only if nobody else has moved it, and what has not changed is not written again.
"""

import hashlib
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct, field

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import AlreadyExists, Conflict, NotFound
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import CONFIG_MAPS

NAME = "neaptide-memory"
PIECE_BYTES = 700 * 2**10  # base64 makes them a third larger
_LABEL = "neaptide.io/memory"
_INDEX = "index"
_PIECE = "piece"
_TRIES = 3


class LostMemoryError(Exception):
    """A memory is there and cannot be read; `str()` says why."""


class SupersededError(Exception):
    """Somebody else has written the memory since it was read: this process no longer leads."""


class Index(Struct, frozen=True):
    """By part, its pieces in order; and who wrote it."""

    holder: str
    parts: dict[str, tuple[str, ...]]


class _Meta(Struct, frozen=True, rename="camel"):
    name: str = ""
    resource_version: str = ""


class _ConfigMap(Struct, frozen=True, rename="camel"):
    metadata: _Meta = field(default_factory=_Meta)
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}


class _Named(Struct, frozen=True):
    metadata: _Meta = field(default_factory=_Meta)


class MemoryStore:
    """One loop's memory, as parts of bytes. `holder` names this process."""

    def __init__(self, client: Client, namespace: str, holder: str, *, name: str = NAME) -> None:
        self._client, self._namespace, self._holder, self._name = client, namespace, holder, name
        self._version = ""
        self._parts: dict[str, tuple[str, ...]] = {}
        self._digests: dict[str, bytes] = {}
        self._tidied = False

    async def load(self) -> dict[str, bytes]:
        """The parts that were saved last; empty where there are none.

        Raises:
            LostMemoryError: pieces are missing or damaged. The next `save` replaces them.
        """
        for attempt in range(_TRIES):
            try:
                return await self._load()
            except NotFound as error:  # its writer, on its way out, may have moved the index in between
                if attempt == _TRIES - 1:
                    raise self._lost(error) from error
            except (msgspec.MsgspecError, zlib.error) as error:
                raise self._lost(error) from error
        return {}

    async def _load(self) -> dict[str, bytes]:
        self._parts, self._digests, self._version = {}, {}, ""
        try:
            raw = await self._client.get(CONFIG_MAPS, self._name, self._namespace)
        except NotFound:
            return {}
        found = msgspec.json.decode(raw, type=_ConfigMap)
        self._version = found.metadata.resource_version
        index = msgspec.json.decode(found.data.get(_INDEX, ""), type=Index)
        parts = {name: await self._assembled(pieces) for name, pieces in index.parts.items()}
        self._parts = dict(index.parts)
        self._digests = {name: _digest(content) for name, content in parts.items()}
        return parts

    def _lost(self, error: Exception) -> LostMemoryError:
        return LostMemoryError(f"ConfigMap {self._namespace}/{self._name}: {error}")

    async def save(self, parts: Mapping[str, bytes]) -> None:
        """Replace what is saved; parts that are as they were cost nothing.

        Raises:
            SupersededError: another process has saved since this one loaded or saved.
            ApiError: it could not be written; what was saved before still holds.
        """
        digests = {name: _digest(content) for name, content in parts.items()}
        if digests == self._digests and self._version:
            return
        named = {}
        for name, content in parts.items():
            same = digests[name] == self._digests.get(name)
            named[name] = self._parts[name] if same else await self._written(content)
        await self._move_index(Index(self._holder, named))
        before = {piece for pieces in self._parts.values() for piece in pieces} if self._tidied else await self._all()
        self._parts, self._digests, self._tidied = named, digests, True
        for piece in before - {piece for pieces in named.values() for piece in pieces}:
            with suppress(NotFound):
                await self._client.delete(CONFIG_MAPS, piece, self._namespace)

    async def _written(self, content: bytes) -> tuple[str, ...]:
        """Write a part's pieces; their names."""
        packed = zlib.compress(content, 1)
        names = []
        for start in range(0, len(packed), PIECE_BYTES):
            piece = packed[start : start + PIECE_BYTES]
            name = f"{self._name}-{_digest(piece).hex()[:20]}"
            body = {**self._object(name), "immutable": True, "binaryData": {_PIECE: piece}}
            with suppress(AlreadyExists):  # it is named after its content
                await self._client.create(CONFIG_MAPS, body, self._namespace)
            names.append(name)
        return tuple(names)

    async def _assembled(self, pieces: tuple[str, ...]) -> bytes:
        packed = b""
        for name in pieces:
            raw = await self._client.get(CONFIG_MAPS, name, self._namespace)
            packed += msgspec.json.decode(raw, type=_ConfigMap).binary_data.get(_PIECE, b"")
        return zlib.decompress(packed)

    async def _move_index(self, index: Index) -> None:
        body = {**self._object(self._name), "data": {_INDEX: msgspec.json.encode(index).decode()}}
        try:
            if self._version:
                body["metadata"]["resourceVersion"] = self._version
                raw = await self._client.replace(CONFIG_MAPS, self._name, body, self._namespace)
            else:
                raw = await self._client.create(CONFIG_MAPS, body, self._namespace)
        except (Conflict, AlreadyExists, NotFound) as error:
            raise SupersededError(f"ConfigMap {self._namespace}/{self._name}: {error.message}") from error
        self._version = msgspec.json.decode(raw, type=_ConfigMap).metadata.resource_version

    async def _all(self) -> set[str]:
        """Every piece that is there, those of a process that died while it wrote among them."""
        found: set[str] = set()
        async for page in self._client.list(CONFIG_MAPS, self._namespace, label_selector=f"{_LABEL}={self._name}"):
            found |= {each.metadata.name for each in items_of(page, _Named)}
        return found - {self._name}

    def _object(self, name: str) -> dict[str, Any]:
        meta = {"name": name, "namespace": self._namespace, "labels": {_LABEL: self._name}}
        return {"apiVersion": "v1", "kind": CONFIG_MAPS.kind, "metadata": meta}


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
