"""Gangs, quotas and reservations as objects of the API: what the scheduler reads of them, and writes into their status."""

from typing import Any

import pytest
from tests.kube.live import eventually, found
from tests.kube.scheduler.asking import bound, create, custom, nodes_of, nothing_is_over_committed, pod, refused
from tests.kube.scheduler.conftest import Start
from tests.testbed.asking import done

from neaptide.testbed.cluster import Testbed


@pytest.mark.usefixtures("kinds")
def test_the_status_of_gangs_quotas_and_reservations_is_written(bed: Testbed, place: str, scheduler: Start) -> None:
    sigs, koordinator = "scheduling.sigs.k8s.io", "scheduling.koordinator.sh"
    room = {
        "owners": [{"labelSelector": {"matchLabels": {"app": place}}}],
        "ttl": "1h",
        "template": {"spec": pod("", cpu="2")["spec"]},
    }
    create(
        bed,
        place,
        custom(sigs, "PodGroup", "pair", {"minMember": 2}),
        custom(sigs, "ElasticQuota", "team", {"min": {"cpu": "0"}, "max": {"cpu": "500m"}}),
        custom(koordinator, "Reservation", place, room),
    )
    gang: dict[str, Any] = {"metadata": {"labels": {"pod-group.scheduling.sigs.k8s.io": "pair"}}}
    with scheduler(bed.kubeconfig):
        eventually(lambda: _status(bed, "reservation", place).get("phase") == "Available")
        create(bed, place, *(pod(f"pair-{number}", cpu="200m", **gang) for number in range(2)))
        assert set(bound(bed, place, 2)) == {"pair-0", "pair-1"}
        eventually(lambda: _status(bed, "podgroup", "pair", place) == {"phase": "Scheduled", "scheduled": 2})
        eventually(lambda: _status(bed, "elasticquota", "team", place)["used"]["cpu"] == "400m")
        create(bed, place, pod("beyond", cpu="200m"))
        assert "quota" in refused(bed, place, "beyond").lower()
        done(bed, "delete", "elasticquota", "team", "--namespace", place)
        create(bed, place, pod("owner", cpu="2", metadata={"labels": {"app": place}}))
        bound(bed, place, 4)
        kept = _status(bed, "reservation", place)["nodeName"]
        assert nodes_of(bed, place)["owner"] == kept
        eventually(lambda: _status(bed, "reservation", place)["phase"] == "Succeeded")
    nothing_is_over_committed(bed)


def _status(bed: Testbed, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    status: dict[str, Any] = found(bed, kind, name, namespace).get("status", {})
    return status
