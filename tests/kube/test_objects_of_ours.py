"""Our own objects: a change of what users wrote starts a cycle, and what the controller itself says in their status does not."""

import asyncio
import json
from typing import Any

from aiohttp import web
from tests.kubeapi.recorded import begun, serving, until

from neaptide.kube.objects_of_ours import OwnObjects
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import POLICIES


def policy(version: int, generation: int, mode: str, message: str) -> dict[str, Any]:
    meta = {"name": "nights", "resourceVersion": str(version), "generation": generation}
    return {"metadata": meta, "spec": {"mode": mode}, "status": {"message": message}}


def line(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


END = {"metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}}


def test_what_is_said_in_a_status_is_kept_and_is_no_change() -> None:
    calls: list[str] = []

    async def conversation() -> None:
        told: asyncio.Queue[bytes] = asyncio.Queue()

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = await begun(request)
            while True:
                await response.write(await told.get())

        def mode_and_message() -> tuple[str, str]:
            item = json.loads(own.raws["nights"])
            return item["spec"]["mode"], item["status"]["message"]

        async with serving(handle) as server, Client(server.cluster) as client:
            own = OwnObjects(client, POLICIES, lambda: calls.append("changed"))
            task = asyncio.create_task(own.run())
            told.put_nowait(line("ADDED", policy(1, 1, "Off", "")) + line("BOOKMARK", END))
            await own.synced.wait()
            assert calls == ["changed"]
            told.put_nowait(line("MODIFIED", policy(2, 1, "Off", "its mode is Off")))
            await until(lambda: mode_and_message() == ("Off", "its mode is Off"))
            assert calls == ["changed"]
            told.put_nowait(line("MODIFIED", policy(3, 2, "Enforce", "its mode is Off")))
            await until(lambda: mode_and_message() == ("Enforce", "its mode is Off"))
            assert calls == ["changed"] * 2
            told.put_nowait(line("DELETED", policy(4, 2, "Enforce", "its mode is Off")))
            await until(lambda: not own.raws)
            assert calls == ["changed"] * 3
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(conversation())
