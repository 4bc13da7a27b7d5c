"""Plan objects that are approved too late."""

import asyncio
import json
from typing import Any

from aiohttp import web
from tests.kubeapi.recorded import serving

from neaptide.kube.plans import Plans
from neaptide.kubeapi.client import Client
from neaptide.loop import Cycle
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


def test_a_plan_that_is_approved_after_it_has_expired_is_not_begun_and_says_so() -> None:
    said: dict[str, Any] = {}

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        said[request.path] = (await request.json())["status"]
        return web.json_response({})

    raws = [
        plan("late", expires=NOW - 1, phase="Pending"),
        plan("begun", expires=NOW - 1, phase="Running"),
        plan("ended", expires=NOW - 1, phase="Done"),
        plan("early", expires=NOW + 1, phase="Pending"),
    ]

    async def conversation() -> None:
        async with serving(handle) as server, Client(server.cluster) as client:
            assert Plans(client).approved([raws[0]], NOW) is None
            await Plans(client).recommend(raws, Cycle(NOW, "", (), ()), None)

    asyncio.run(conversation())
    [(path, status)] = said.items()
    assert path.endswith("/plans/late/status")
    assert status["phase"] == "Expired"
    assert status["message"] == f"it had not begun by {timestamp(NOW - 1)}"
