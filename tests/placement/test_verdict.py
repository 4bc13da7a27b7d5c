from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placed, Placement
from neaptide.placement.verdict import Refusal


def cluster(*items: AnyObject) -> tuple[ClusterSnapshot, Placement]:
    snapshot = ClusterSnapshot()
    for item in items:
        snapshot.set(item)
    return snapshot, Placement(snapshot)


TAINT = (o.Taint("dedicated", "db", "NoSchedule"),)


def test_the_message_counts_reasons_as_kube_scheduler_s_event_does() -> None:
    small = [node(f"s{number}", cpu="1", memory="1Gi") for number in range(3)]
    tainted = [node(f"t{number}", taints=TAINT) for number in range(2)]
    snapshot, placement = cluster(*small, *tainted, pod("new", cpu="2", memory="2Gi"))
    verdict = placement.verdict(snapshot.pods.by_key["default/new"])
    assert verdict.message() == (
        "0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient cpu, 3 Insufficient memory."
    )
    assert verdict.by_filter() == {"TaintToleration": 2, "NodeResourcesFit": 3}


def test_a_pod_that_fits_has_no_message() -> None:
    _, placement = cluster(node("a"), pod("new"))
    assert placement.verdict(0).message() == ""
    assert placement.why_not(0, 0) is None
    assert placement.choose(0) == 0


def test_nodes_that_a_pod_does_not_name_are_counted_apart() -> None:
    field = o.NodeSelectorTerm(match_fields=(o.Requirement("metadata.name", "In", ("a",)),))
    affinity = o.Affinity(o.NodeAffinity(o.NodeSelector((field,))))
    _, placement = cluster(node("a", cpu="1"), node("b"), node("c"), pod("new", cpu="2", spec={"affinity": affinity}))
    assert placement.verdict(0).message() == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_a_cluster_without_nodes_says_so() -> None:
    _, placement = cluster(pod("new"))
    assert placement.verdict(0).message() == "no nodes available to schedule pods"
    assert placement.choose(0) is None


def test_a_pod_on_a_node_is_judged_as_if_it_had_none() -> None:
    snapshot, placement = cluster(node("a", cpu="2"), node("b", cpu="1"), pod("here", node="a", cpu="2"))
    before = snapshot.nodes.contents()
    assert placement.feasible(0).tolist() == [True, False]
    assert placement.why_not(0, 1) == Refusal("NodeResourcesFit", ("Insufficient cpu",))
    assert snapshot.nodes.contents() == before


def test_equal_nodes_are_taken_in_order_and_filled_evenly() -> None:
    snapshot, placement = cluster(node("a"), node("b"), *(pod(f"p{number}", cpu="1") for number in range(4)))
    assert [placed.node for placed in placement.schedule([0, 1, 2, 3])] == [0, 1, 0, 1]
    assert snapshot.pods.node[:4].tolist() == [0, 1, 0, 1]


def test_pods_that_no_scheduler_looks_at_are_left_alone() -> None:
    leaving = o.Pod(o.Metadata("leaving", "default", deletion_timestamp="2026-01-01T00:00:00Z"), pod("x").spec)
    done = o.Pod(o.Metadata("done", "default"), pod("x").spec, o.PodStatus("Succeeded"))
    _, placement = cluster(node("a"), pod("here", node="a"), leaving, done)
    assert placement.schedule([0, 1, 2]) == [
        Placed(0, None, "pod is bound already"),
        Placed(1, None, "pod is being deleted"),
        Placed(2, None, "pod has finished"),
    ]
