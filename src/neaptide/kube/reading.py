"""An object's JSON as a watch brings it: read once, patiently, or left out with the reason."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.any_object import AnyObject
from neaptide.model.manifests import KINDS, from_json
from neaptide.model.problems import LeftOut

Key = tuple[str, str, str]
"""Kind, namespace, name."""


class _Meta(Struct, gc=False):
    name: str = ""
    namespace: str = ""


class _Named(Struct, gc=False):
    metadata: _Meta = field(default_factory=_Meta)


class _ScaledSpec(Struct, gc=False):
    replicas: objects.Int32 | None = None


class _Scaled(Struct, gc=False):
    """What is read of a custom resource that has replicas, whatever else it may hold."""

    metadata: objects.Metadata = objects.Metadata()
    spec: _ScaledSpec = field(default_factory=_ScaledSpec)


_names = msgspec.json.Decoder(_Named)
_scaled = msgspec.json.Decoder(_Scaled)


def key_of(kind: str, raw: bytes | Raw) -> Key:
    """The name of an object of a kind."""
    meta = _names.decode(raw).metadata
    return kind, meta.namespace, meta.name


class Reader:
    """Reads the objects of some kinds; one that is not known is a custom resource with replicas, and read as a workload."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            kind: msgspec.json.Decoder(KINDS[kind]) for kind in kinds if kind in KINDS
        }

    def read(self, kind: str, raw: bytes | Raw) -> AnyObject | tuple[Key, LeftOut]:
        """An object, or its name and why it cannot be read."""
        if kind not in self._decoders:
            return _custom(kind, raw)
        item: AnyObject
        try:
            item = self._decoders[kind].decode(raw)
        except msgspec.MsgspecError:
            found, problems = from_json(b'{"kind":"%sList","items":[%s]}' % (kind.encode(), bytes(raw)), "")
            if not found:
                return key_of(kind, raw), problems[0]
            item = found[0].item
        if isinstance(item, objects.Workload) and not item.kind:
            return replace(item, kind=kind)
        return item


def _custom(kind: str, raw: bytes | Raw) -> objects.Workload | tuple[Key, LeftOut]:
    try:
        read = _scaled.decode(raw)
    except msgspec.MsgspecError as error:
        key = key_of(kind, raw)
        return key, LeftOut(
            "", f"{kind} {key[1]}/{key[2]}", "", "", f"metadata, and spec.replicas as a number ({error})"
        )
    return objects.Workload(kind, read.metadata, objects.WorkloadSpec(replicas=read.spec.replicas))
