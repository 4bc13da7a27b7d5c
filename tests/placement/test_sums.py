import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model.run_times import RUN_SECONDS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.load_aware import Estimation, used
from neaptide.placement.scores.cool_down_hot_node import CoolDownHotNode
from neaptide.placement.scores.like_ends import LikeEnds
from neaptide.placement.scores.node_balance import NodeBalance
from neaptide.placement.view import View

NOW = 1_800_000_000.0
NODES = 4
moves = st.lists(st.tuples(st.integers(0, 9), st.integers(-1, NODES - 1), st.booleans()), max_size=12)


@given(moves)
def test_sums_that_follow_the_pods_equal_sums_made_anew(moves: list[tuple[int, int, bool]]) -> None:
    snapshot = ClusterSnapshot()
    for number in range(NODES):
        snapshot.set_node_usage(snapshot.set_node(node(f"n{number}", cpu="10")), 1000.0 * number, 0.0, NOW)
    rows = [
        snapshot.set_pod(pod(f"p{number}", cpu=f"{number + 1}00m", annotations={RUN_SECONDS: f"{40 + number}e6"}))
        for number in range(10)
    ]
    view = View(snapshot)
    view.at(NOW)
    for number, to, in_thought in moves:
        with snapshot.what_if():
            _move(snapshot, rows[number], to)
            _compare(view)
        if not in_thought:
            _move(snapshot, rows[number], to)
        _compare(view)


def _move(snapshot: ClusterSnapshot, row: int, to: int) -> None:
    if snapshot.pods.node[row] >= 0:
        snapshot.unassign(row)
    if to >= 0:
        snapshot.assign(row, to)


def _compare(view: View) -> None:
    view.refresh()
    fresh = View(view.snapshot)
    fresh.at(NOW)
    np.testing.assert_allclose(used(view, Estimation()), used(fresh, Estimation()))
    nodes = np.arange(NODES)
    for score in (CoolDownHotNode(), NodeBalance(), LikeEnds()):
        kept, anew = (score.scores(each, each.pod(0), nodes) for each in (view, fresh))
        assert (kept is None) == (anew is None)
        if kept is not None and anew is not None:
            np.testing.assert_array_equal(kept, anew)
