"""A fingerprint of a snapshot's tables: equal for equal clusters that were built alike."""

import hashlib
from functools import partial

from neaptide.model.columns import NodeColumns, PodColumns
from neaptide.model.derived import NODES, PODS, TABLES, Derived


def digest_of(nodes: NodeColumns, pods: PodColumns, derived: Derived) -> str:
    """Of nodes, pods and what runs where; parts that have not changed since are kept in `derived`."""
    parts = [
        derived.of("digest of names", (NODES, PODS), partial(_names, nodes, pods)),
        derived.of("digest of columns", (NODES, PODS), partial(_columns, nodes, pods, measured=False)),
        derived.of("digest of usage", TABLES, partial(_columns, nodes, pods, measured=True)),
    ]
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def _names(nodes: NodeColumns, pods: PodColumns) -> bytes:
    return hashlib.blake2b("\0".join(nodes.names + pods.keys).encode(), digest_size=16).digest()


def _columns(nodes: NodeColumns, pods: PodColumns, *, measured: bool) -> bytes:
    """Of what is measured, which changes all the time, or of everything else."""
    total = hashlib.blake2b(digest_size=16)
    for table in (nodes, pods):
        for name in table.column_names():
            if name.startswith("usage_") is measured:
                total.update(name.encode())
                total.update(table.bytes_of(name))
    return total.digest()
