"""Host ports: one user at a time on each node."""

from functools import partial

import numpy as np

from neaptide.model.columns import Bools
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.classes import PodClass
from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

REASON = "node(s) didn't have free ports for the requested pod ports"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the API's spelling; nothing listens here

HostPort = tuple[str, str, int]


class NodePorts(Filter, frozen=True, tag="NodePorts"):
    """A host port must be free for its protocol, on its address or, where either side names none, on all."""

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        users = self.users(view, pod)
        if not users:
            return {}
        taken = np.zeros(view.nodes.rows, dtype=np.bool_)
        for row in users:
            taken |= view.topology.counts.on_node[row] > 0
        return {REASON: taken}

    def users(self, view: View, pod: Pod) -> list[int]:
        """The rows of `topology.counts` for the pods that hold each host port which the pod wants."""
        clash = partial(_clashes, view.snapshot)
        wanted = view.snapshot.shape_facts.values[pod.cls.shape].host_ports
        return [view.topology.counts.add(("port", port), partial(clash, port)) for port in wanted]


def _clashes(snapshot: ClusterSnapshot, wanted: HostPort, other: PodClass) -> bool:
    """Whether pods of a class hold what a port wants."""
    address, protocol, number = wanted
    return any(
        used[1:] == (protocol, number) and (used[0] == address or ANY_ADDRESS in (used[0], address))
        for used in snapshot.shape_facts.values[other.shape].host_ports
    )
