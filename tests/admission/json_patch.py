"""RFC 6902 as the API server applies it, for the operations that rules use."""

import copy
from collections.abc import Iterable
from typing import Any

from neaptide.admission.draft import Operation


def patched(document: dict[str, Any], operations: Iterable[Operation]) -> dict[str, Any]:
    """A copy of a document with operations applied."""
    document = copy.deepcopy(document)
    for operation in operations:
        *above, last = [name.replace("~1", "/").replace("~0", "~") for name in operation.path.split("/")[1:]]
        parent: Any = document
        for name in above:
            parent = parent[int(name)] if isinstance(parent, list) else parent[name]
        if operation.op == "remove":
            del parent[last]
        elif isinstance(parent, list):
            assert last == "-"
            parent.append(copy.deepcopy(operation.value))
        else:
            parent[last] = copy.deepcopy(operation.value)
    return document
