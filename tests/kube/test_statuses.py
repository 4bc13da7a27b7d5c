"""The status of Policies."""

import asyncio

from tests.kubeapi.recorded import cluster

from neaptide.kube.configuration import Verdict
from neaptide.kube.statuses import Statuses
from neaptide.kubeapi.client import Client
from neaptide.model.objects import Metadata


def test_a_policy_that_is_deleted_during_a_cycle_is_passed_over() -> None:
    verdict = Verdict(Metadata(name="gone"), ready=True, reason="Accepted", message="its mode is Off")
    asyncio.run(Statuses(Client(cluster(1))).write({}, {"gone": verdict}, None, ()))
