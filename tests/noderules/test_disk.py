"""Disk limits of best-effort pods: how they are shared out, and how they follow the waiting of services."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.disk import DiskLimits, DiskSettings, disk_limits, next_share

FOLLOWS = DiskSettings(write_bps=1000, pressure_percent=20, least_percent=10)
STEPS = {
    "halved where services wait": (0.8, 20.0, 0.4),
    "not below the least": (0.15, 90.0, 0.1),
    "up by a tenth where they hardly wait": (0.5, 9.9, 0.6),
    "not above the whole": (0.95, 0.0, 1.0),
    "kept between the two": (0.5, 15.0, 0.5),
    "kept where nobody knows": (0.5, None, 0.5),
}


@pytest.mark.parametrize(("share", "pressure", "wanted"), STEPS.values(), ids=STEPS)
def test_the_share_follows_the_waiting_of_services(share: float, pressure: float | None, wanted: float) -> None:
    assert next_share(FOLLOWS, share, pressure) == pytest.approx(wanted)


def test_limits_stay_as_configured_where_no_pressure_is_named() -> None:
    assert next_share(DiskSettings(write_bps=1000), 0.3, 99.0) == 1.0


def test_groups_share_by_the_pods_in_them_and_what_has_no_limit_gets_none() -> None:
    settings = DiskSettings(read_bps=1000, write_iops=90)
    assert disk_limits(settings, 1.0, {"tier": 2, "pod": 1}) == {
        "tier": DiskLimits(666, None, None, 60),
        "pod": DiskLimits(333, None, None, 30),
    }
    assert disk_limits(DiskSettings(), 1.0, {"tier": 2}) == {}
    assert disk_limits(settings, 1.0, {}) == {}


@given(st.integers(1, 10**9), st.floats(0.1, 1.0), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_together_they_have_no_more_than_the_limit_and_each_can_go_on(
    limit: int, share: float, pods: list[int]
) -> None:
    found = disk_limits(DiskSettings(write_bps=limit), share, {str(number): each for number, each in enumerate(pods)})
    amounts = [each.write_bps or 0 for each in found.values()]
    assert min(amounts) >= 1
    assert sum(amounts) <= max(limit, len(pods))
