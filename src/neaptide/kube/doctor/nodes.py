"""What is unsafe or unknown about nodes."""

from collections.abc import Iterator

import numpy as np

from neaptide.kube.doctor.finding import Finding, Seen, some


def readiness(seen: Seen) -> Iterator[Finding]:
    """Nodes that do not answer."""
    nodes = seen.snapshot.nodes
    rows = nodes.indices()
    silent = [nodes.names[row] for row in rows[~nodes.ready[rows]].tolist()]
    if silent:
        message = f"{len(silent)} of {len(rows)} nodes are not ready ({some(silent)}): nothing is reclaimed on them"
        yield Finding("warning", "nodes", message, "kubectl describe node")


def usage(seen: Seen) -> Iterator[Finding]:
    """Nodes whose use nobody measures."""
    nodes = seen.snapshot.nodes
    rows = nodes.indices()
    unknown = int(np.isnan(nodes.usage_cpu[rows]).sum())
    if unknown:
        yield Finding(
            "warning",
            "usage",
            f"the use of {unknown} of {len(rows)} nodes is not known: reclaim counts requests there, or does nothing",
            "install metrics-server, give `neaptide run` --prometheus, or the right to nodes/proxy",
        )


def prices(seen: Seen) -> Iterator[Finding]:
    """Nodes without a price."""
    nodes = seen.snapshot.nodes
    rows = nodes.indices()
    unknown = [nodes.names[row] for row in rows[np.isnan(nodes.price[rows])].tolist()]
    if unknown:
        yield Finding(
            "warning",
            "prices",
            f"the price of {len(unknown)} of {len(rows)} nodes is not known ({some(unknown)}): no plan that saves money touches them",
            "label them neaptide.io/price-per-hour, or create a PriceCatalogue",
        )


def unseen(seen: Seen) -> Iterator[Finding]:
    """What the user may not see."""
    for sentence in seen.unseen:
        if "what is used" not in sentence:
            yield Finding("warning", "rights", sentence, "what is not seen is planned as if it were not there")
