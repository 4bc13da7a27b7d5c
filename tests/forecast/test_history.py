import msgspec
import numpy as np
import pytest

from neaptide.forecast.history import HistoryCheckpoint, HistorySettings, UsageHistory, restore_history
from neaptide.forecast.peaks import PeakSettings, peaks_of
from neaptide.model.problems import FieldError

NOW = 1_800_000_000.0
DAY = 86_400.0
MIB = float(1 << 20)


def observed() -> UsageHistory:
    history = UsageHistory()
    for minute in range(30):
        rows = history.rows(["Deployment a/web", "Deployment a/api", "Deployment a/web"])
        cpu = np.array([500.0, np.nan, 700.0])
        history.observe(rows, cpu, np.array([100 * MIB, 50 * MIB, 120 * MIB]), NOW + 60 * minute)
    return history


def test_pods_of_one_workload_share_a_series() -> None:
    history = observed()
    assert list(history.keys) == ["Deployment a/web", "Deployment a/api"]
    assert peaks_of(history, PeakSettings()).cpu_milli[0] == pytest.approx(700, rel=0.05)


def test_an_unknown_cpu_reading_still_teaches_memory() -> None:
    peaks = peaks_of(observed(), PeakSettings())
    assert np.isnan(peaks.cpu_milli[1])
    assert peaks.memory_bytes[1] == pytest.approx(50 * MIB, rel=0.15)


def test_a_restored_history_predicts_the_same_and_goes_on_the_same() -> None:
    history = observed()
    wire = msgspec.json.encode(history.checkpoint())
    back = restore_history(msgspec.json.decode(wire, type=HistoryCheckpoint), history.settings)
    for each in (history, back):
        each.observe(each.rows(["Job a/new"]), np.array([250.0]), np.array([MIB]), NOW + DAY)
    assert back.checkpoint() == history.checkpoint()


def test_a_series_that_is_not_seen_for_long_is_forgotten_and_the_others_stay() -> None:
    history = observed()
    history.observe(history.rows(["Deployment a/api"]), np.array([80.0]), np.array([60 * MIB]), NOW + 7 * DAY)
    api = history.cpu.weights[1].copy()
    history.forget(NOW + 8 * DAY)
    assert list(history.keys) == ["Deployment a/api"]
    assert history.cpu.weights[0].tobytes() == api.tobytes()
    assert history.rows(["Deployment a/web"]).tolist() == [1]
    assert not history.cpu.weights[1].any()


def test_a_key_that_was_never_observed_is_forgotten() -> None:
    history = UsageHistory()
    history.rows(["Deployment a/web"])
    history.forget(NOW)
    assert not history.keys


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"keys": ("x", "x")}, "keys"),
        ({"first_seen": ()}, "first_seen"),
        ({"last_seen": (1.0,)}, "last_seen"),
        ({"keys": ("x",), "first_seen": (1.0,), "last_seen": (1.0,)}, "cpu.series"),
    ],
    ids=["a key twice", "no first times", "too few last times", "fewer keys than rows"],
)
def test_a_checkpoint_whose_parts_do_not_fit_is_refused_by_field(change: dict[str, object], field: str) -> None:
    checkpoint = observed().checkpoint()
    with pytest.raises(FieldError) as caught:
        restore_history(msgspec.structs.replace(checkpoint, **change), HistorySettings())
    assert caught.value.field == field
