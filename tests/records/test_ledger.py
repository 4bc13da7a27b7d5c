"""No second is charged twice and none is lost, whatever dies when."""

import contextlib
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from neaptide.records.ledger import GONE, NAME, Closed, Ledger, Opened, leases_of
from neaptide.records.line import segments
from neaptide.records.log import Log


def opened(uid: str, started: float = 100.0, **fields: object) -> Opened:
    facts: dict[str, object] = {
        "provider": "containerd",
        "node": "virtual-1",
        "namespace": "vk",
        "pod": f"pod-{uid}",
        "workload": "Job/pi",
        "cpu_milli": 1000,
        "memory_mib": 2048,
        "price_per_hour": 0.05,
    }
    return Opened(uid=uid, started=started, **{**facts, **fields})  # type: ignore[arg-type]


def test_a_lease_is_opened_once_and_closed_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        assert ledger.open(opened("a"))
        assert not ledger.open(opened("a", started=150.0))
        assert ledger.close("a", 200.0, "Completed")
        assert not ledger.close("a", 900.0)
        assert not ledger.close("unheard of", 900.0)
    lease = leases_of(tmp_path)["a"]
    assert (lease.opened.started, lease.ended, lease.reason) == (100.0, 200.0, "Completed")


def test_a_clock_that_steps_back_makes_no_negative_time(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.open(opened("a", started=100.0))
        ledger.seen("containerd", "virtual-1", 160.0)
        ledger.seen("containerd", "virtual-1", 120.0)
        ledger.close("a", 40.0)
    assert leases_of(tmp_path)["a"].ended == 100.0


def test_a_pod_that_its_provider_has_lost_is_paid_until_it_was_last_seen(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.open(opened("a"))
        ledger.open(opened("elsewhere", node="virtual-2"))
        ledger.seen("containerd", "virtual-1", 160.0)
    with Ledger(tmp_path) as ledger:
        assert ledger.reconcile("containerd", "virtual-1", []) == 1
        assert ledger.reconcile("containerd", "virtual-1", []) == 0
    leases = leases_of(tmp_path)
    assert (leases["a"].ended, leases["a"].reason) == (160.0, GONE)
    assert leases["elsewhere"].ended is None


def test_what_ended_while_nobody_looked_is_closed_when_it_ended(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.open(opened("a"))
    with Ledger(tmp_path) as ledger:
        runs = [(opened("a"), 130.0), (opened("b", started=110.0), 140.0), (opened("c", started=120.0), None)]
        assert ledger.reconcile("containerd", "virtual-1", runs) == 4
    ends = {uid: (lease.opened.started, lease.ended) for uid, lease in leases_of(tmp_path).items()}
    assert ends == {"a": (100.0, 130.0), "b": (110.0, 140.0), "c": (120.0, None)}


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_ledger_that_was_cut_or_damaged_in_mid_line_is_made_whole_from_the_provider(
    tmp_path: Path, damage: str
) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.open(opened("a"))
        ledger.close("a", 150.0)
        ledger.open(opened("b"))
    path = segments(tmp_path, NAME)[0].path
    content = bytearray(path.read_bytes())
    at = content.index(b'"Closed"')
    if damage == "cut":
        path.write_bytes(content[:at])
    else:
        content[at + 1] ^= 1
        path.write_bytes(content)
    reported: list[object] = []
    with Ledger(tmp_path, on_corrupt=reported.append) as ledger:
        ledger.reconcile("containerd", "virtual-1", [(opened("a"), 150.0), (opened("b"), None)])
    assert len(reported) == (0 if damage == "cut" else 1)
    leases = leases_of(tmp_path, on_corrupt=reported.append)
    assert {uid: lease.ended for uid, lease in leases.items()} == {"a": 150.0, "b": None}


def test_a_record_that_is_none_of_ours_is_reported_and_the_others_count(tmp_path: Path) -> None:
    with Log(tmp_path, NAME) as log:
        log.extend([opened("a"), {"kind": "Nonsense"}, Closed("a", 120.0)])
    reported: list[object] = []
    assert leases_of(tmp_path, on_corrupt=reported.append)["a"].ended == 120.0
    assert len(reported) == 1


class Crashes(RuleBasedStateMachine):
    """A provider that runs pods, and a ledger whose writer dies at any moment and whose file is cut at any byte of its last write.

    The provider forgets a pod only when `close` has returned, as the virtual kubelet does it.
    """

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.random = random.Random(seed)
        self.clock = 1000.0
        self.provider: dict[str, tuple[Opened, float | None]] = {}
        self.truth: dict[str, tuple[float, float | None]] = {}
        self.ledger = Ledger(self.directory)
        self.synced = self.size()

    def size(self) -> int:
        return segments(self.directory, NAME)[-1].path.stat().st_size

    @rule(seconds=st.floats(0.1, 5000))
    def time_passes(self, seconds: float) -> None:
        self.clock += seconds

    @rule()
    def a_pod_starts(self) -> None:
        uid = f"pod-{len(self.truth)}"
        self.provider[uid] = (opened(uid, started=self.clock), None)
        self.truth[uid] = (self.clock, None)

    @precondition(lambda self: any(ended is None for _, ended in self.provider.values()))
    @rule()
    def a_pod_ends(self) -> None:
        uid = self.random.choice([uid for uid, (_, ended) in self.provider.items() if ended is None])
        self.provider[uid] = (self.provider[uid][0], self.clock)
        self.truth[uid] = (self.truth[uid][0], self.clock)

    @rule()
    def it_is_reconciled(self) -> None:
        self.ledger.reconcile("containerd", "virtual-1", list(self.provider.values()))
        self.synced = self.size()

    @rule()
    def a_pod_that_was_settled_is_forgotten(self) -> None:
        for uid in list(self.provider):
            lease = self.ledger.lease(uid)
            if lease is not None and lease.ended is not None:
                del self.provider[uid]

    @rule()
    def the_writer_dies_in_mid_write(self) -> None:
        for run, ended in list(self.provider.values())[: self.random.randint(0, 3)]:
            self.ledger.open(run)
            if ended is not None and self.random.random() < 0.5:
                self.ledger.close(run.uid, ended)
        with contextlib.suppress(ValueError):
            self.ledger.shut()
        path = segments(self.directory, NAME)[-1].path
        os.truncate(path, self.random.randint(self.synced, path.stat().st_size))
        self.ledger = Ledger(self.directory)
        self.synced = self.size()

    @invariant()
    def nothing_is_charged_that_did_not_run_and_nothing_forgotten_is_lost(self) -> None:
        leases = leases_of(self.directory)
        for uid, lease in leases.items():
            started, ended = self.truth[uid]
            assert lease.opened.started == started
            assert lease.ended in (None, ended)
        for uid, (started, ended) in self.truth.items():
            if uid not in self.provider:
                assert (leases[uid].opened.started, leases[uid].ended) == (started, ended)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.reconcile("containerd", "virtual-1", list(self.provider.values()))
            self.ledger.shut()
            leases = leases_of(self.directory)
            assert {uid: (each.opened.started, each.ended) for uid, each in leases.items()} == self.truth


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
