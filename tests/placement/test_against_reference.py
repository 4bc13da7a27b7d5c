import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement import reference
from tests.placement.clusters import clusters, pods, snapshot_of
from tests.placement.reference import Cluster

from neaptide.model import objects as o
from neaptide.placement.place import Placement
from neaptide.placement.scores.most_allocated import MostAllocated
from neaptide.placement.scores.registry import DEFAULT_SCORES
from neaptide.placement.scores.score import Score

SKIPPED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
CONFLICT = "pod affinity terms conflict"


scenes = st.booleans().flatmap(lambda plain: st.tuples(clusters(plain=plain), pods("new", plain=plain)))


@settings(max_examples=100)
@given(scenes)
def test_every_node_is_refused_for_the_reference_s_reasons(scene: tuple[Cluster, o.Pod]) -> None:
    cluster, pod = scene
    snapshot = snapshot_of(cluster, pod)
    placement = Placement(snapshot)
    row = snapshot.pods.by_key[f"{pod.metadata.namespace}/new"]
    found = placement.verdicts(row)
    feasible = placement.feasible(row)
    for node in cluster.nodes:
        at = snapshot.nodes.by_name[node.metadata.name]
        expected = reference.reasons(cluster, pod, node)
        assert feasible[at] == (expected == ()), node.metadata.name
        given_reasons = found[at].reasons if at in found else ()
        if given_reasons not in ((SKIPPED,), (CONFLICT,)):  # said instead of the reasons of later plugins
            assert sorted(given_reasons) == sorted(expected)


@settings(max_examples=100)
@given(scenes)
def test_every_score_is_the_reference_s(scene: tuple[Cluster, o.Pod]) -> None:
    cluster, pod = scene
    snapshot = snapshot_of(cluster, pod)
    placement = Placement(snapshot)
    row = snapshot.pods.by_key[f"{pod.metadata.namespace}/new"]
    nodes = [node for node in cluster.nodes if not reference.reasons(cluster, pod, node)]
    rows = np.array([snapshot.nodes.by_name[node.metadata.name] for node in nodes], dtype=np.int64)
    balanced = [reference.balanced(cluster, pod, node) for node in nodes]
    expected = {
        "LeastAllocated": [reference.least_allocated(cluster, pod, node) for node in nodes],
        "MostAllocated": [reference.most_allocated(cluster, pod, node) for node in nodes],
        "NodeResourcesBalancedAllocation": None if None in balanced else balanced,
        "NodeAffinity": reference.preferred_nodes(pod, nodes),
        "TaintToleration": reference.preferred_taints(pod, nodes),
        "InterPodAffinity": reference.preferred_pods(cluster, pod, nodes),
        "PodTopologySpread": reference.spread_scores(cluster, pod, nodes),
        "ImageLocality": [0] * len(nodes),
    }
    if not nodes:
        assert placement.choose(row) is None
        return
    total = np.zeros(len(rows), dtype=np.int64)
    scores: tuple[Score, ...] = (*DEFAULT_SCORES, MostAllocated())
    for score in scores:
        got = score.scores(placement.view, placement.view.pod(row), rows)
        wanted = expected[score.name]
        assert (got.tolist() if got is not None else [0] * len(rows)) == (wanted or [0] * len(rows)), score.name
        if score in DEFAULT_SCORES and wanted:
            total += score.weight * np.array(wanted, dtype=np.int64)
    assert placement.scores(row)[rows].tolist() == total.tolist()
    assert placement.choose(row) == rows[total.argmax()]


@settings(max_examples=100)
@given(st.data())
def test_schedule_takes_only_nodes_that_the_reference_allows(data: st.DataObject) -> None:
    plain = data.draw(st.booleans())
    cluster = data.draw(clusters(most_pods=4, plain=plain))
    pending = [data.draw(pods(f"p{number}", plain=plain)) for number in range(data.draw(st.integers(1, 6)))]
    snapshot = snapshot_of(cluster, *pending)
    rows = [snapshot.pods.by_key[f"{pod.metadata.namespace}/{pod.metadata.name}"] for pod in pending]
    for pod, placed in zip(pending, Placement(snapshot).schedule(rows), strict=True):
        allowed = [node.metadata.name for node in cluster.nodes if not reference.reasons(cluster, pod, node)]
        if placed.node is None:
            assert not allowed
            assert placed.reason.startswith(f"0/{len(cluster.nodes)} nodes are available: ")
            continue
        name = snapshot.nodes.names[placed.node]
        assert name in allowed
        assert snapshot.pods.node[placed.pod] == placed.node
        bound = o.PodSpec(
            **{field: getattr(pod.spec, field) for field in pod.spec.__struct_fields__} | {"node_name": name}
        )
        cluster.pods.append(o.Pod(pod.metadata, bound, pod.status))
