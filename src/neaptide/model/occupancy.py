"""Which pods count on which node: the chains of a node's pods, and the sums of their requests."""

from collections.abc import Iterator

import numpy as np

from neaptide.model.columns import FAILED, NO_NODE, ORPHAN, SUCCEEDED, Ints, Longs, NodeColumns, PodColumns
from neaptide.model.undo import Undo
from neaptide.model.vocabulary import Vocabulary


class Occupancy:
    """Keeps `pods.node`, the chains through `first_pod` and `next_on_node`, and `nodes.used` and `scoring` in step.

    `changed_nodes` gets the row of every node that a change touches.
    """

    def __init__(self, undo: Undo, nodes: NodeColumns, pods: PodColumns, words: Vocabulary) -> None:
        self._undo, self._nodes, self._pods, self._words = undo, nodes, pods, words
        self.changed_nodes: list[int] = []

    def pods_on(self, node: int) -> Iterator[int]:
        """Rows of the unfinished pods on a node."""
        pod = int(self._nodes.first_pod[node])
        while pod >= 0:
            yield pod
            pod = int(self._pods.next_on_node[pod])

    def join(self, pod: int, name: str) -> None:
        """A bound pod counts on its node, unless it has finished; where the node is unknown it waits for it."""
        node = self._nodes.by_name.get(name)
        if self._pods.phase[pod] in (SUCCEEDED, FAILED):
            return
        if node is None:
            self.make_orphan(pod, name)
        else:
            self.attach(pod, node)

    def leave(self, pod: int) -> None:
        """Take a pod off its node, or out of the orphans."""
        if self._pods.node[pod] >= 0:
            self.detach(pod)
        elif self._pods.node[pod] == ORPHAN:
            self.adopt(pod)
        self._undo.put(self._pods.node, pod, NO_NODE)

    def make_orphan(self, pod: int, name: str) -> None:
        """Let a pod wait for a node that is not known."""
        if name not in self._pods.orphans:
            self._undo.put(self._pods.orphans, name, {})
        self._undo.put(self._pods.orphans[name], pod, None)
        self._undo.put(self._pods.waits, pod, name)
        self._undo.put(self._pods.node, pod, ORPHAN)

    def adopt(self, pod: int) -> None:
        """A pod waits for its node no longer; `pods.node` is for the caller to set."""
        self._undo.drop(self._pods.orphans[self._pods.waits[pod]], pod)
        self._undo.drop(self._pods.waits, pod)

    def attach(self, pod: int, node: int) -> None:
        """Count a pod on a node."""
        put, pods, nodes = self._undo.put, self._pods, self._nodes
        head = int(nodes.first_pod[node])
        put(pods.node, pod, node)
        put(pods.next_on_node, pod, head)
        put(pods.previous_on_node, pod, -1)
        if head >= 0:
            put(pods.previous_on_node, head, pod)
        put(nodes.first_pod, node, pod)
        self._count(pod, node, 1)

    def attach_block(self, pods: Longs, nodes: Ints) -> None:
        """Attach many pods at once: chain the pods of each node, then put the chain before what the node had."""
        order = np.argsort(nodes, kind="stable")
        pods, nodes = pods[order], nodes[order]
        shape = self._words.classes.shape[self._pods.cls[pods]]
        for table, amounts in (
            (self._nodes.used, self._words.shapes.request),
            (self._nodes.scoring, self._words.shapes.scoring),
        ):
            for row in range(len(table)):
                self._undo.put(table, row, _summed(table[row], nodes, amounts[row, shape]))
        last = np.append(nodes[1:] != nodes[:-1], True) if len(nodes) else np.zeros(0, dtype=np.bool_)
        first = np.roll(last, 1)
        heads = self._nodes.first_pod[nodes]
        followed = last & (heads >= 0)
        self._undo.put(self._pods.previous_on_node, heads[followed], pods[followed])
        self._undo.put(self._pods.node, pods, nodes)
        self._undo.put(self._pods.next_on_node, pods, np.where(last, heads, np.roll(pods, -1)))
        self._undo.put(self._pods.previous_on_node, pods, np.where(first, -1, np.roll(pods, 1)))
        self._undo.put(self._nodes.first_pod, nodes[first], pods[first])
        self.changed_nodes.extend(nodes[first].tolist())

    def detach(self, pod: int) -> None:
        """Take a pod off the node it counts on; `pods.node` is for the caller to set."""
        put, pods = self._undo.put, self._pods
        node, before, after = int(pods.node[pod]), int(pods.previous_on_node[pod]), int(pods.next_on_node[pod])
        if before >= 0:
            put(pods.next_on_node, before, after)
        else:
            put(self._nodes.first_pod, node, after)
        if after >= 0:
            put(pods.previous_on_node, after, before)
        put(pods.next_on_node, pod, -1)
        put(pods.previous_on_node, pod, -1)
        self._count(pod, node, -1)

    def _count(self, pod: int, node: int, sign: int) -> None:
        shape = self._words.classes.shape[self._pods.cls[pod]]
        for table, amounts in (
            (self._nodes.used, self._words.shapes.request),
            (self._nodes.scoring, self._words.shapes.scoring),
        ):
            self._undo.add(table, (slice(None), node), amounts[:, shape] * sign if sign < 0 else amounts[:, shape])
        self.changed_nodes.append(node)


def _summed(row: Longs, index: Ints, amounts: Longs) -> Longs:
    total = row.copy()
    np.add.at(total, index, amounts)
    return total
