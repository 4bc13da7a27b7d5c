"""The annotation `node.koordinator.sh/reservation`."""

import pytest

from neaptide.model.node_reservation import NodeReservation, node_reservation
from neaptide.model.problems import FieldError


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("{}", NodeReservation()),
        ('{"resources": {"cpu": "1500m", "memory": "4Gi"}}', NodeReservation(1500, 4 << 30)),
        ('{"resources": {"cpu": "8"}, "reservedCPUs": "0-1,3"}', NodeReservation(3000, 0, frozenset({0, 1, 3}))),
        ('{"resources": {"cpu": "-1"}}', NodeReservation()),
        ('{"resources": null, "reservedCPUs": null, "applyPolicy": "Default"}', NodeReservation()),
    ],
)
def test_it_says_what_a_node_keeps_and_named_cpus_prevail(text: str, kept: NodeReservation) -> None:
    assert node_reservation(text) == kept


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("none", "JSON such as"),
        ("[]", "JSON such as"),
        ('{"resources": {"cpu": "two"}}', "a Kubernetes quantity"),
        ('{"reservedCPUs": "3-x"}', "a list of CPUs such as 0-3,8"),
        ('{"reservedCPUs": "0-999999999"}', "a list of CPUs such as 0-3,8"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, sentence: str) -> None:
    with pytest.raises(FieldError, match=sentence):
        node_reservation(text)
