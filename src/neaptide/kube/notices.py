"""Interruption notices from outside the cluster: a file to which somebody appends, and an HTTP endpoint. Both take the same JSON.

`{"node": "ip-10-0-0-1", "notice": "Interruption", "ends": "2026-11-30T14:02:00Z"}`: one object a line in the file, one a request. A bad line is
logged and skipped. What was said of a node holds until `withdrawn` is true for it, or the node is gone.
"""

import asyncio
import hmac
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import structlog
from aiohttp import web
from msgspec import Struct

from neaptide.model.cloud import Interruption, Notice

_LOOK = 1.0
_LARGEST = 64 * 1024


class Told(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a node. `ends` is RFC 3339, empty where it is not known."""

    node: str
    notice: Notice = "Interruption"
    ends: str = ""
    withdrawn: bool = False

    def interruption(self, source: str) -> Interruption:
        """The notice. Raises ValueError for a time that is none."""
        ends = datetime.fromisoformat(self.ends).timestamp() if self.ends else None
        return Interruption(self.node, self.notice, ends, source)


class Notices:
    """All that was said, by node; `take` says what of it is still about something."""

    def __init__(self) -> None:
        self._known: dict[str, Interruption] = {}
        self._log = structlog.get_logger()

    def current(self) -> Sequence[Interruption]:
        """What holds."""
        return list(self._known.values())

    def tell(self, line: bytes, source: str) -> str:
        """Take one in; why it is not accepted, empty where it is."""
        try:
            told = msgspec.json.decode(line, type=Told)
            found = told.interruption(source)
        except (msgspec.MsgspecError, ValueError) as error:
            return f'{source}: {error}; accepted: {{"node": NAME, "notice": "Interruption", "ends": TIME}}'
        if told.withdrawn:
            self._known.pop(told.node, None)
        else:
            self._known[told.node] = found
        return ""

    def forget(self, gone: Sequence[str]) -> None:
        """These nodes are no more."""
        for name in gone:
            self._known.pop(name, None)

    async def follow(self, file: Path) -> None:
        """Read what is appended to a file, for as long as this is awaited. One that is not there yet, or is begun anew, is read from its start."""
        read = 0
        while True:
            lines, read = await asyncio.to_thread(_appended, file, read)
            for line in lines:
                problem = self.tell(line, str(file))
                if problem:
                    self._log.warning("notice left out", reason=problem)
            await asyncio.sleep(_LOOK)

    async def serve(self, host: str, port: int, token: str) -> web.AppRunner:
        """Answer POST /interruptions of who has the token; the server is to be cleaned up."""

        async def told(request: web.Request) -> web.Response:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.encode()):
                return web.Response(status=401, text="a bearer token is needed\n")
            problem = self.tell(await request.read(), "webhook")
            return web.Response(status=400 if problem else 202, text=problem)

        application = web.Application(client_max_size=_LARGEST)
        application.router.add_post("/interruptions", told)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return runner


def _appended(file: Path, read: int) -> tuple[list[bytes], int]:
    """The whole lines behind the first `read` bytes, and how far that is."""
    size = file.stat().st_size if file.exists() else 0
    start = 0 if size < read else read
    if size == start:
        return [], start
    with file.open("rb") as content:
        content.seek(start)
        whole, end, _ = content.read().rpartition(b"\n")
    return [line for line in whole.split(b"\n") if line], start + len(whole) + len(end)
