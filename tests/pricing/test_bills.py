"""Bills: whole seconds, each in one day and one line."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.cli.bill import bill as command
from neaptide.cli.exits import OK, PARTIAL, UsageError
from neaptide.pricing.billing import Billing, billed_seconds
from neaptide.pricing.bills import DAY, By, bill, charges, total
from neaptide.pricing.focus import rows
from neaptide.records.ledger import Lease, Ledger, Opened

MIDNIGHT = 1_764_547_200.0  # 2025-12-01


def opened(uid: str = "a", started: float = MIDNIGHT, **fields: object) -> Opened:
    facts: dict[str, object] = {
        "provider": "containerd",
        "node": "virtual-1",
        "namespace": "vk",
        "pod": f"pod-{uid}",
        "workload": "Job/pi",
        "cpu_milli": 2000,
        "memory_mib": 4096,
        "price_per_hour": 0.36,
        "tariff": "eci",
    }
    return Opened(uid=uid, started=started, **{**facts, **fields})  # type: ignore[arg-type]


def lease(uid: str = "a", *, start: float = 0, seconds: float | None = 60, **fields: object) -> Lease:
    begun = opened(uid, MIDNIGHT + start, **fields)
    return Lease(begun, None if seconds is None else begun.started + seconds, begun.started)


def test_seconds_are_split_at_midnight_and_the_minimum_counts_once() -> None:
    one = lease(start=-10.5, seconds=20, minimum_seconds=60)
    days = [(charge.day, charge.seconds) for charge in charges([one], MIDNIGHT + DAY)]
    assert days == [("2025-11-30", 60)]
    two = lease(start=-10.5, seconds=100, minimum_seconds=60)
    days = [(charge.day, charge.seconds) for charge in charges([two], MIDNIGHT + DAY)]
    assert days == [("2025-11-30", 60), ("2025-12-01", 40)]


def test_a_pod_that_runs_is_charged_until_now_and_one_that_never_ran_is_not() -> None:
    found = list(charges([lease(seconds=None), lease("b", seconds=0)], MIDNIGHT + 90))
    assert [(charge.opened.uid, charge.seconds, charge.running) for charge in found] == [("a", 90, True)]


def test_a_clock_that_was_set_back_charges_no_less_than_was_seen() -> None:
    running = lease(seconds=None)._replace(seen=MIDNIGHT + 500)
    assert total(charges([running], MIDNIGHT - 100)).billed_seconds == 500


def test_days_outside_the_asked_for_ones_are_left_out() -> None:
    long = lease(start=0, seconds=3 * DAY)
    found = charges([long], MIDNIGHT + 9 * DAY, since=MIDNIGHT + DAY, until=MIDNIGHT + 2 * DAY)
    assert [charge.day for charge in found] == ["2025-12-02"]


@given(
    runs=st.lists(st.tuples(st.floats(-2 * DAY, 2 * DAY), st.floats(0, 3 * DAY)), max_size=6),
    minimum=st.integers(0, 120),
    by=st.sampled_from(["namespace", "workload", "day"]),
)
def test_every_way_to_group_a_bill_adds_up_to_the_seconds_of_its_leases(
    runs: Sequence[tuple[float, float]], minimum: int, by: By
) -> None:
    leases = [
        lease(str(n), start=start, seconds=seconds, minimum_seconds=minimum, workload=f"Job/{n % 2}")
        for n, (start, seconds) in enumerate(runs)
    ]
    expected = sum(billed_seconds((each.ended or 0) - each.opened.started, Billing(1, minimum)) for each in leases)
    found = list(charges(leases, MIDNIGHT))
    lines = bill(found, by)
    assert sum(line.billed_seconds for line in lines) == total(found).billed_seconds == expected
    assert sum(line.dollars for line in lines) == pytest.approx(expected * 0.36 / 3600)


def test_what_has_no_price_is_counted_apart_and_not_as_nothing() -> None:
    line = total(charges([lease(), lease("b", price_per_hour=None)], MIDNIGHT + 90))
    assert (line.billed_seconds, line.unpriced_seconds) == (120, 60)
    assert line.dollars == pytest.approx(0.006)


def test_focus_rows_hold_what_version_1_0_requires() -> None:
    row = next(iter(rows(charges([lease(start=-3600, seconds=600)], MIDNIGHT))))
    assert row["BilledCost"] == row["EffectiveCost"] == pytest.approx(0.06)
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2025-11-01T00:00:00Z", "2025-12-01T00:00:00Z")
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2025-11-30T23:00:00Z", "2025-11-30T23:10:00Z")
    assert row["PricingQuantity"] == pytest.approx(1 / 6)
    assert (row["ChargeCategory"], row["ServiceCategory"], row["SubAccountId"]) == ("Usage", "Compute", "vk")
    assert json.loads(str(row["Tags"]))["workload"] == "Job/pi"
    assert all(row[name] is None for name in ("ChargeClass", "RegionId", "CommitmentDiscountId"))
    price, quantity = row["ListUnitPrice"], row["PricingQuantity"]
    assert isinstance(price, float)
    assert isinstance(quantity, float)
    assert price * quantity == pytest.approx(row["ListCost"])


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    with Ledger(tmp_path / "ledger") as written:
        for each in (opened("a"), opened("b", namespace="ci"), opened("c", price_per_hour=None)):
            written.open(each)
            written.close(each.uid, each.started + 100)
    return tmp_path / "ledger"


def test_the_command_prints_a_bill(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(ledger=ledger, by="namespace", output="json") == OK
    printed = json.loads(capsys.readouterr().out)
    assert [(line["key"], line["billedSeconds"]) for line in printed["lines"]] == [("ci", 100), ("vk", 200)]
    assert printed["total"]["dollars"] == pytest.approx(0.02)


def test_the_command_writes_focus_as_csv_and_says_what_it_could_not_say(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bill.csv"
    assert command(ledger=ledger, focus=target, account="team-a") == PARTIAL
    assert "1 charges have no known price" in capsys.readouterr().err
    with target.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert {(row["SubAccountId"], row["BillingAccountId"]) for row in written} == {("vk", "team-a"), ("ci", "team-a")}
    assert sum(float(row["BilledCost"]) for row in written) == pytest.approx(0.02)


def test_the_command_writes_the_same_rows_as_parquet(ledger: Path, tmp_path: Path) -> None:
    arro3 = pytest.importorskip("arro3.io", reason="Parquet wants `pip install neaptide[parquet]`")
    target = tmp_path / "bill.parquet"
    assert command(ledger=ledger, focus=target) == PARTIAL
    table = arro3.read_parquet(target).read_all()
    assert sorted(table.column("BilledCost").to_pylist()) == pytest.approx([0.01, 0.01])
    assert sorted(table.column("SubAccountId").to_pylist()) == ["ci", "vk"]
    assert table.column("ChargePeriodStart").to_pylist()[0].timestamp() == MIDNIGHT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"since": "yesterday"}, "a day such as", id="no day"),
        pytest.param({"focus": Path("bill.xlsx")}, ".csv or .parquet", id="another format"),
    ],
)
def test_what_cannot_be_used_is_said(ledger: Path, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        command(ledger=ledger, **arguments)  # type: ignore[arg-type]


def test_a_directory_without_a_ledger_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no ledger here"):
        command(ledger=tmp_path)
