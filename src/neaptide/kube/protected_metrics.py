"""What Prometheus sees of protected pods whose node goes all the same: who will be ended, where and when."""

from collections.abc import Iterator

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric

from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds
from neaptide.policies.protected import TAINT
from neaptide.policies.protected_grace import TERMINATES_AT
from neaptide.policies.protected_pods import holding


def announced(snapshot: ClusterSnapshot, now: float) -> Iterator[Metric]:
    """A series for each protected pod on a node that the policy `protected` has announced the end of, and that is still stopped."""
    found = GaugeMetricFamily(
        "neaptide_announced_end_timestamp_seconds",
        "When a protected pod is ended with its node, in seconds since the epoch.",
        labels=["node", "protected_pod"],
    )
    ends = dict(_ends(snapshot))
    for pod in holding(snapshot, now).tolist() if ends else ():
        node = int(snapshot.pods.node[pod])
        if node in ends:
            found.add_metric([snapshot.nodes.names[node], snapshot.pods.keys[pod]], ends[node])
    yield found


def _ends(snapshot: ClusterSnapshot) -> Iterator[tuple[int, float]]:
    """The nodes (rows) that say when they end. An annotation that outlived its taint, or that is no time, says nothing."""
    said = [row for row, each in enumerate(snapshot.annotation_sets.values) if TERMINATES_AT in each]
    rows = snapshot.nodes.indices()
    for node in rows[np.isin(snapshot.nodes.annotations[rows], said)].tolist() if said else ():
        if any(each.key == TAINT for each in snapshot.node_taints(node)):
            try:
                yield node, seconds(snapshot.node_annotations(node)[TERMINATES_AT])
            except FieldError:
                continue
