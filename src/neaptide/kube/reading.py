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


_names = msgspec.json.Decoder(_Named)


def key_of(kind: str, raw: bytes | Raw) -> Key:
    """The name of an object of a kind."""
    meta = _names.decode(raw).metadata
    return kind, meta.namespace, meta.name


class Reader:
    """Reads the objects of some kinds."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            kind: msgspec.json.Decoder(KINDS[kind]) for kind in kinds
        }

    def read(self, kind: str, raw: bytes | Raw) -> AnyObject | tuple[Key, LeftOut]:
        """An object, or its name and why it cannot be read."""
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
