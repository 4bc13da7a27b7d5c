"""What is kept between calls equals what is worked out from nothing, whatever has happened in between."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.clusters import clusters, nodes, often, pods, snapshot_of

from neaptide.model import objects as o
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement

NAMES = [f"n{number}" for number in range(4)]


def change(data: st.DataObject, snapshot: ClusterSnapshot, number: int) -> None:
    """One random change."""
    draw = data.draw
    kind = draw(
        st.sampled_from(["assign", "assign", "unassign", "node", "no node", "pod", "pod", "no pod", "namespace"])
    )
    rows = snapshot.pods.indices().tolist()
    pending = [row for row in rows if snapshot.pods.node[row] == -1]
    bound = [row for row in rows if snapshot.pods.node[row] >= 0]
    here = snapshot.nodes.indices().tolist()
    match kind:
        case "assign" if pending and here:
            snapshot.assign(draw(st.sampled_from(pending)), draw(st.sampled_from(here)))
        case "unassign" if bound:
            snapshot.unassign(draw(st.sampled_from(bound)))
        case "node":
            snapshot.set_node(draw(nodes(draw(st.sampled_from(NAMES)), plain=draw(st.booleans()))))
        case "no node":
            snapshot.remove_node(draw(st.sampled_from(NAMES)))
        case "pod":
            snapshot.set_pod(draw(pods(f"c{number % 5}", draw(st.sampled_from(["", *NAMES])), plain=draw(often(8)))))
        case "no pod" if rows:
            snapshot.remove_pod(snapshot.pods.keys[draw(st.sampled_from(rows))])
        case "namespace":
            labels = draw(st.dictionaries(st.just("team"), st.sampled_from("xy"), max_size=1))
            snapshot.set(o.Namespace(o.Metadata(name=draw(st.sampled_from(["blue", "red"])), labels=labels)))
        case _:
            pass


def seen(placement: Placement) -> dict[str, Any]:
    """All that a placement says of every pod."""
    snapshot = placement.snapshot
    return {
        snapshot.pods.keys[row]: (
            placement.verdicts(row),
            placement.scores(row).tolist(),
            placement.verdict(row).message(),
        )
        for row in snapshot.pods.indices().tolist()
    }


@settings(max_examples=100)
@given(st.data())
def test_a_placement_that_lived_through_changes_says_what_a_new_one_says(data: st.DataObject) -> None:
    cluster = data.draw(clusters(most_nodes=4, most_pods=4, plain=True))
    snapshot = snapshot_of(cluster, data.draw(pods("new", plain=True)))
    placement = Placement(snapshot)
    seen(placement)
    for number in range(data.draw(st.integers(1, 6))):
        if data.draw(often(3)):
            with snapshot.what_if():
                for step in range(3):
                    change(data, snapshot, number + step)
                assert seen(placement) == seen(Placement(snapshot))
        else:
            change(data, snapshot, number)
        assert seen(placement) == seen(Placement(snapshot))


@settings(max_examples=50)
@given(st.data())
def test_counts_of_pods_equal_those_worked_out_from_the_pods(data: st.DataObject) -> None:
    cluster = data.draw(clusters(most_nodes=4, plain=True))
    pending = [data.draw(pods(f"p{number}", plain=True)) for number in range(4)]
    snapshot = snapshot_of(cluster, *pending)
    placement = Placement(snapshot)
    rows = [snapshot.pods.by_key[f"{pod.metadata.namespace}/{pod.metadata.name}"] for pod in pending]
    placement.schedule(rows)
    placement.view.refresh()
    kept, fresh = placement.view.topology, Placement(snapshot).view.topology
    for cls in set(snapshot.pods.cls[snapshot.pods.indices()].tolist()):
        one, other = kept.constraints(cls), fresh.constraints(cls)
        judged = ([each.pods for each in found.spread] + [each.pods for each in found.apart] for found in (one, other))
        for mine, theirs in zip(*judged, strict=True):
            assert kept.counts.on_node[mine].tolist() == fresh.counts.on_node[theirs].tolist()


@settings(max_examples=50)
@given(st.data())
def test_schedule_overcommits_no_resource(data: st.DataObject) -> None:
    cluster = data.draw(clusters(most_pods=0))
    pending = [data.draw(pods(f"p{number}")) for number in range(data.draw(st.integers(1, 12)))]
    snapshot = snapshot_of(cluster, *pending)
    Placement(snapshot).schedule(snapshot.pods.indices().tolist())
    assert (snapshot.free() >= 0).all()
