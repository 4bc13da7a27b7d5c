"""Bindings that were asked for and not announced yet: each gets its Event `Scheduled` once, whoever tells of it first.

The answer to a binding may never come, for the lease can go before it does: then the pod, shown on its node, tells of it.
"""

from collections.abc import Iterable

from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.actions import AnyCycleAction, Bind, Emit


class Announcements:
    """What is to be said of bindings. Actions that follow are appended to `out`."""

    def __init__(self, snapshot: ClusterSnapshot, out: list[AnyCycleAction]) -> None:
        self._snapshot, self._out = snapshot, out
        self._asked: dict[str, Bind] = {}

    def take_over(self, before: "Announcements") -> None:
        """Go on where others have ended."""
        self._asked = before._asked

    def asked(self, actions: Iterable[AnyCycleAction]) -> None:
        """Expect what comes of these of them that are bindings."""
        self._asked.update((_key(each), each) for each in actions if isinstance(each, Bind))

    def shown(self, key: str) -> None:
        """The cluster shows a pod (`namespace/name`) on a node."""
        asked, pods = self._asked.get(key), self._snapshot.pods
        if asked is not None and asked.pod.uid == pods.uids[pods.by_key[key]] and asked.node == self._node(key):
            self._announce(key, asked.node)

    def bound(self, key: str, uid: str) -> None:
        """The API server has taken a binding."""
        asked = self._asked.get(key)
        if asked is not None and asked.pod.uid == uid:
            self._announce(key, self._node(key) or asked.node)

    def forget(self, key: str, uid: str = "") -> None:
        """A binding was refused; without a UID, the pod is gone."""
        if key in self._asked and uid in ("", self._asked[key].pod.uid):
            del self._asked[key]

    def _node(self, key: str) -> str:
        """Where a pod is; empty where it is nowhere."""
        pods = self._snapshot.pods
        node = int(pods.node[pods.by_key[key]]) if key in pods.by_key else -1
        return self._snapshot.nodes.names[node] if node >= 0 else ""

    def _announce(self, key: str, node: str) -> None:
        pod = self._asked.pop(key).pod
        self._out.append(Emit(pod, "Normal", "Scheduled", f"Successfully assigned {key} to {node}"))


def _key(action: Bind) -> str:
    return f"{action.pod.namespace}/{action.pod.name}"
