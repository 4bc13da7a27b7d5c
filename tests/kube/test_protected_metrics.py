"""Protected pods whose end is announced, as Prometheus sees them."""

import pytest
from tests.builders import node, pod

from neaptide.kube.protected_metrics import announced
from neaptide.model import objects as o
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protected import TAINT
from neaptide.policies.protected_grace import TERMINATES_AT
from neaptide.policies.protection import DO_NOT_DISRUPT

STOPPED = (o.Taint(TAINT, "neaptide.1", "NoSchedule"),)


@pytest.mark.parametrize(
    ("text", "taints", "expected"),
    [
        ("2027-01-15T08:00:00Z", STOPPED, {("n", "default/train"): 1_800_000_000.0}),
        ("2027-01-15T08:00:00Z", (), {}),
        ("soon", STOPPED, {}),
        (None, STOPPED, {}),
    ],
    ids=["announced", "the node is filled again", "an annotation that is no time", "nothing is announced"],
)
def test_each_protected_pod_on_a_node_that_is_to_end_has_a_series(
    text: str | None, taints: tuple[o.Taint, ...], expected: dict[tuple[str, str], float]
) -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(node("n", taints=taints, annotations={} if text is None else {TERMINATES_AT: text}))
    snapshot.set(node("other"))
    for name, on in (("train", "n"), ("elsewhere", "other")):
        snapshot.set(pod(name, node=on, annotations={DO_NOT_DISRUPT: "true"}))
    snapshot.set(pod("web", node="n"))
    found = [sample for family in announced(snapshot, 1.7e9) for sample in family.samples]
    assert {(each.labels["node"], each.labels["protected_pod"]): each.value for each in found} == expected
