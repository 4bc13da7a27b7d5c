"""QoS classes and priority bands follow Koordinator."""

import pytest

from neaptide.model.qos import Band, QoS, band_of, qos_of


@pytest.mark.parametrize(
    ("labels", "kubernetes_class", "expected"),
    [
        ({}, "Guaranteed", QoS.LSR),
        ({}, "Burstable", QoS.LS),
        ({}, "BestEffort", QoS.BE),
        ({"koordinator.sh/qosClass": "BE"}, "Guaranteed", QoS.BE),
        ({"koordinator.sh/qosClass": "LSX"}, "Burstable", QoS.LSE),
        ({"koordinator.sh/qosClass": "SYSTEM"}, "Burstable", QoS.SYSTEM),
        ({"koordinator.sh/qosClass": "nonsense"}, "Burstable", QoS.LS),
    ],
)
def test_the_label_decides_the_qos_class_and_kubernetes_class_is_the_default(
    labels: dict[str, str], kubernetes_class: str, expected: QoS
) -> None:
    assert qos_of(labels, kubernetes_class) is expected


@pytest.mark.parametrize(
    ("labels", "priority", "expected"),
    [
        ({}, 0, Band.PROD),
        ({}, 9500, Band.PROD),
        ({}, 7999, Band.MID),
        ({}, 5000, Band.BATCH),
        ({}, 3500, Band.FREE),
        ({}, 2_000_000_000, Band.PROD),
        ({"koordinator.sh/priority-class": "koord-batch"}, 9500, Band.BATCH),
    ],
)
def test_the_band_is_the_label_or_the_range_of_the_priority_or_prod(
    labels: dict[str, str], priority: int, expected: Band
) -> None:
    assert band_of(labels, priority) is expected
