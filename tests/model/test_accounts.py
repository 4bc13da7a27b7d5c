"""What is requested, free, lent and used, node by node and in sums: nothing is lost and nothing counts twice."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model.accounts import TIERS, USERS, Account, Tier, account_of
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY

BATCH, OT = "kubernetes.io/batch-cpu", "neaptide.io/ot-cpu"


def cluster(*pods: tuple[str, dict[str, Any], float], offered: dict[str, str] | None = None) -> ClusterSnapshot:
    """A node with pods of a band, with requests and use."""
    snapshot = ClusterSnapshot()
    snapshot.set(node("n", cpu="10", memory="10Gi", resources=offered or {BATCH: "4000", OT: "1000"}))
    for number, (band, requests, used) in enumerate(pods):
        row = snapshot.set_pod(
            pod(f"p{number}", node="n", labels={"koordinator.sh/priority-class": f"koord-{band}"}, **requests)
        )
        snapshot.set_pod_usage(row, used, 0.0)
    return snapshot


def test_free_reclaimed_and_the_second_tier_are_told_apart() -> None:
    snapshot = cluster(
        ("prod", {"cpu": "6"}, 2000.0),
        ("batch", {BATCH: "3000"}, 1500.0),
        ("free", {OT: "1000"}, 400.0),
        ("free", {}, 100.0),
    )
    snapshot.set_node_usage(0, 4500.0, 0.0, 1.0)
    assert account_of(snapshot, CPU, [0]) == Account(
        capacity=10_000,
        reserved=0,
        requested=6000,
        free=4000,
        tiers={"batch": Tier(4000, 3000, 1000), "ot": Tier(1000, 1000, 0)},
        used={"prod": 2000.0, "batch": 1500.0, "free": 100.0, "ot": 400.0, "system": 500.0},
        unknown=0,
    )


def test_an_offer_that_shrank_below_what_was_requested_is_a_debt_and_not_zero() -> None:
    snapshot = cluster(("batch", {BATCH: "3000"}, 1.0), offered={BATCH: "2000"})
    assert account_of(snapshot, CPU, [0]).tiers["batch"].free == -1000


def test_where_a_nodes_use_is_unknown_nobodys_is_told() -> None:
    snapshot = cluster(("prod", {"cpu": "1"}, 1.0))
    found = account_of(snapshot, CPU, [0])
    assert (found.used, found.unknown) == (None, 0)


pods = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["prod", "mid", "batch", "free"]),
        st.sampled_from([("cpu", "memory"), *zip(TIERS[CPU].values(), TIERS[MEMORY].values(), strict=True)]),
        st.integers(0, 3000),
        st.one_of(st.none(), st.integers(0, 3000)),
    ),
    max_size=20,
)


@settings(max_examples=60)
@given(pods, st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000)), min_size=4, max_size=4))
def test_the_sums_hold_whatever_runs_and_whatever_is_offered(chosen: list[Any], offers: list[tuple[int, int]]) -> None:
    snapshot, used = ClusterSnapshot(), [0.0] * 4
    for number, (batch, ot) in enumerate(offers):
        snapshot.set(node(f"n{number}", cpu="100", resources={BATCH: str(batch), OT: str(ot)}))
    for number, (on, band, names, amount, use) in enumerate(chosen):
        requests: dict[str, Any] = {names[0]: f"{amount}m" if names[0] == "cpu" else str(amount), names[1]: str(amount)}
        label = {"koordinator.sh/priority-class": f"koord-{band}"}
        row = snapshot.set_pod(pod(f"p{number}", node=f"n{on}", labels=label, **requests))
        if use is not None:
            snapshot.set_pod_usage(row, float(use), float(use))
            used[on] += use
    for row, amount in enumerate(used):
        snapshot.set_node_usage(row, amount + 7.0, amount + 7.0, 1.0)
    for resource in (CPU, MEMORY):
        each = [account_of(snapshot, resource, [row]) for row in range(4)]
        whole = account_of(snapshot, resource, range(4))
        for account in (*each, whole):
            assert account.requested + account.free + account.reserved == account.capacity
            assert all(tier.requested + tier.free == tier.offered for tier in account.tiers.values())
        for field in ("capacity", "requested", "free", "unknown"):
            assert getattr(whole, field) == sum(getattr(account, field) for account in each)
        for tier in TIERS[resource]:
            parts = [account.tiers[tier] for account in each if tier in account.tiers]
            assert whole.tiers.get(tier, Tier(0, 0, 0)).requested == sum(part.requested for part in parts)
        assert whole.used is not None
        assert sum(whole.used.values()) == pytest.approx(sum(used) + 28.0)
        assert whole.used["system"] == pytest.approx(28.0)
        assert whole.used.keys() <= {*USERS, "system"}
        lent = sum(tier.requested for tier in whole.tiers.values())
        assert lent + whole.requested == sum(amount for *_, amount, _ in chosen)
