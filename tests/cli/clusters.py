"""Small clusters as files, written the way kubectl prints them."""

from pathlib import Path
from typing import Any

import msgspec
from tests.builders import node, pod

PRICE_LABEL = "neaptide.io/price-per-hour"


def manifest(item: msgspec.Struct) -> dict[str, Any]:
    """An object as the API server would spell it."""
    plain: dict[str, Any] = msgspec.to_builtins(item)
    return {"kind": type(item).__name__} | plain


def write_list(path: Path, *items: Any) -> str:
    """A `kind: List` of objects as JSON; the file's name."""
    plain = [manifest(each) if isinstance(each, msgspec.Struct) else each for each in items]
    path.write_bytes(msgspec.json.encode({"kind": "List", "items": plain}))
    return str(path)


def small_cluster(path: Path, *more: Any) -> str:
    """Two nodes at a dollar an hour each, and a pod on one of them."""
    nodes = [node(name, labels={PRICE_LABEL: "1.0"}) for name in ("node-a", "node-b")]
    return write_list(path, *nodes, pod("web-0", node="node-a", cpu="1", memory="4Gi"), *more)
