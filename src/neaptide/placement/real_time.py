"""Which parts of a node's real-time data the filter and the score NodeInfoRt read, by names that a profile uses."""

from collections.abc import Callable

from neaptide.model.columns import Floats
from neaptide.model.node_info import NodeInfo
from neaptide.placement.view import View

ACCEPTED = "load.WINDOW (1m, 5m, 15m), pressure.RESOURCE (cpu, memory, io), network or disk"
_WHOLE: dict[str, Callable[[NodeInfo], float | None]] = {
    "network": lambda info: info.network,
    "disk": lambda info: info.disk,
}


def column(view: View, name: str) -> Floats:
    """float64[node rows]: what is known of each node by a name as `is_known` takes it; nan where nothing is."""
    read = _WHOLE.get(name)
    if read is not None:
        return view.infos.of(name, read)
    kind, _, part = name.partition(".")
    if kind == "load":
        return view.infos.of(name, lambda info: info.load.get(part))
    return view.infos.of(name, lambda info: info.pressure.get(part))


def is_known(name: str) -> bool:
    """Whether a name is one of those that `ACCEPTED` lists."""
    kind, _, part = name.partition(".")
    return name in _WHOLE or (kind in ("load", "pressure") and bool(part))
