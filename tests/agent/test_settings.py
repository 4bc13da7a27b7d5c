from pathlib import Path

import pytest

from neaptide.agent.layout import LayoutError, find
from neaptide.agent.settings import Settings, SettingsError, settings
from neaptide.noderules.cpu_suppress import SuppressSettings


def test_rules_are_set_by_their_fields_and_off_where_they_are_null() -> None:
    found = settings(
        {"cpu_suppress": {"policy": "cfsQuota", "min_percent": 10}, "group_priority": None, "reserved_cpu": 5}
    )
    assert found == Settings(SuppressSettings(policy="cfsQuota", min_percent=10), group_priority=None, reserved_cpu=5)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "the settings: .* accepted: a mapping"),
        ({"suppress": {}}, "'suppress' is not accepted; accepted: cpu_suppress, "),
        ({"cpu_suppress": {"policies": "x"}}, "cpu_suppress.policies is not accepted; accepted: enabled, "),
        ({"cpu_suppress": {"policy": "x"}}, "cpu_suppress.policy: 'x' is not accepted; accepted: cpuset, cfsQuota"),
        ({"cpu_burst": {"period_seconds": "x"}}, "cpu_burst.period_seconds: 'x' is not accepted"),
        ({"reserved_cpu": 1.5}, "reserved_cpu: 1.5 is not accepted"),
        ({"reserved_cpu": -1}, "reserved_cpu: -1 is not accepted; accepted: 0 to "),
        ({"interference": {"window": 1}}, "interference.window: 1 is not accepted; accepted: 3 to 10000"),
        ({"interference": {"confidence": 2}}, "interference.confidence: 2 is not accepted; accepted: 0 to 1"),
        ({"cpu_evict": {"window_seconds": -1}}, "cpu_evict.window_seconds: -1 is not accepted; accepted: 1 to "),
        ({"cpu_suppress": {"threshold_percent": -5}}, "cpu_suppress.threshold_percent: -5 is not accepted"),
        (
            {"cpu_evict": {"policy": "evictByFortune"}},
            "'evictByFortune' is not accepted; accepted: evictByRealLimit, evictByAllocatable",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value),
)
def test_what_cannot_be_used_is_named(content: object, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        settings(content)


def test_where_there_is_no_kubelet_it_is_said_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"neither .*/cpu/a.slice/a-kubepods.slice nor .*/cpu/a/kubepods is there"):
        find(str(tmp_path), "/a")
