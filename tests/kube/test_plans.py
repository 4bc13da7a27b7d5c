"""Plan objects: those that are approved too late, and those that a person wrote."""

import asyncio
import json
from typing import Any

from aiohttp import web
from tests.kubeapi.recorded import serving

from neaptide.kube.plans import Plans
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.loop import Cycle
from neaptide.model.actions import Evict
from neaptide.model.objects import Metadata, OwnerReference, Pod
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp

NOW = 1_800_000_000.0


def plan(name: str, *, expires: float, phase: str, approved: bool = True) -> bytes:
    reason = {"code": "Test", "message": "a test wants it"}
    action = {"kind": "Cordon", "policy": "test", "target": {"kind": "Node", "name": "n"}, "reason": reason}
    spec = {
        "created": timestamp(NOW - 7200),
        "expires": timestamp(expires),
        "approved": approved,
        "actions": [action],
    }
    return json.dumps({"metadata": {"name": name}, "spec": spec, "status": {"phase": phase}}).encode()


def test_a_plan_that_is_approved_too_late_or_cannot_be_read_is_not_begun_and_says_so() -> None:
    said: dict[str, Any] = {}

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        said[request.path] = (await request.json())["status"]
        return web.json_response({})

    raws = [
        plan("late", expires=NOW - 1, phase="Pending"),
        plan("begun", expires=NOW - 1, phase="Running"),
        plan("ended", expires=NOW - 1, phase="Done"),
        plan("early", expires=NOW + 1, phase="Pending"),
        plan("odd", expires=NOW + 1, phase="Pending").replace(b'"Cordon"', b'"Taint"'),
        plan("odd before", expires=NOW + 1, phase="Stopped").replace(b'"Cordon"', b'"Taint"'),
    ]

    async def conversation() -> None:
        async with serving(handle) as server, Client(server.cluster) as client:
            assert Plans(client).approved([raws[0]], NOW) is None
            await Plans(client).recommend(raws, Cycle(NOW, "", (), ()), None)

    asyncio.run(conversation())
    told = {path.split("/")[-2]: (status["phase"], status["message"]) for path, status in said.items()}
    assert told == {
        "late": ("Expired", f"it had not begun by {timestamp(NOW - 1)}"),
        "odd": ("Stopped", "it cannot be carried out: Object missing required field `key` - at `$.spec.actions[0]`"),
    }


def test_an_eviction_that_a_person_wrote_counts_for_the_workload_of_its_pod() -> None:
    snapshot = ClusterSnapshot()
    owner = (OwnerReference("StatefulSet", "web", controller=True),)
    snapshot.set(Pod(Metadata("web-0", "shop", owner_references=owner)))
    reason = {"code": "Test", "message": "a test wants it"}
    actions = [
        {"kind": "Evict", "policy": "test", "target": {"kind": "Pod", "name": name, "namespace": "shop"}, "reason": reason, "node": "n"}
        for name in ("web-0", "gone")
    ]  # fmt: skip
    spec = {"created": timestamp(NOW), "expires": timestamp(NOW + 1), "approved": True, "actions": actions}
    raw = json.dumps({"metadata": {"name": "by-hand"}, "spec": spec}).encode()
    approved = Plans(Client(Cluster("https://localhost:1"))).approved([raw], NOW)
    assert approved is not None
    found = approved.with_workloads(snapshot).actions
    assert [str(each.workload) for each in found if isinstance(each, Evict)] == ["StatefulSet shop/web", "None"]
