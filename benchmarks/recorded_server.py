"""An API server's answers, recorded: a list of pods in pages and a watch, over TLS, in a process of its own.

`python -m benchmarks.recorded_server DIRECTORY PODS EVENTS` writes DIRECTORY/kubeconfig once it serves, and ends with its standard input.
"""

import asyncio
import json
import random
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from aiohttp import web

from benchmarks.podlist import pod
from neaptide.kubeapi.keys import renewed
from neaptide.kubeapi.tls import load_chain

PAGE = 500
_WORKLOADS, _NODES = 400, 1000
_PIECE = 1 << 18
_READY_WITHIN = 60.0


class Recording:
    """Pages of a list and the lines of a watch, as bytes."""

    def __init__(self, pods: int, events: int) -> None:
        rng = random.Random(0)
        objects = [_dense(pod(number, rng, workloads=_WORKLOADS, nodes=_NODES)) for number in range(pods)]
        starts = range(0, pods, PAGE)
        self.pages = {str(start): _page(objects[start : start + PAGE], start + PAGE, pods) for start in starts}
        lines = [
            b'{"type":"MODIFIED","object":{"kind":"Pod","apiVersion":"v1",' + objects[number % pods][1:] + b"}\n"
            for number in range(events)
        ]
        self.events = b"".join(lines)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        query = request.query
        if "watch" not in query:
            return web.Response(body=self.pages[query.get("continue") or "0"], content_type="application/json")
        if "sendInitialEvents" in query:
            body = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "not in this recording"}
            return web.json_response(body, status=422)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):  # who has seen enough goes
            for start in range(0, len(self.events), _PIECE):
                await response.write(self.events[start : start + _PIECE])
            await asyncio.sleep(_READY_WITHIN)
        return response


def _page(objects: list[bytes], end: int, of: int) -> bytes:
    metadata = {"resourceVersion": "1"} | ({"continue": str(end)} if end < of else {})
    head = b'{"kind":"PodList","apiVersion":"v1","metadata":' + _dense(metadata)
    return head + b',"items":[' + b",".join(objects) + b"]}\n"


def _dense(found: object) -> bytes:
    return json.dumps(found, separators=(",", ":")).encode()


async def serve(directory: Path, pods: int, events: int) -> None:
    keys = renewed(None, ["localhost"], time.time())
    if keys is None:
        raise RuntimeError("nothing was made of nothing")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_chain(context, keys.certificate, keys.key)
    runner = web.ServerRunner(web.Server(Recording(pods, events).answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    (directory / "ca.crt").write_bytes(keys.bundle)
    cluster = {
        "server": f"https://localhost:{runner.addresses[0][1]}",
        "certificate-authority": str(directory / "ca.crt"),
        "disable-compression": True,
    }
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "recorded", "cluster": cluster}],
        "users": [{"name": "recorded", "user": {"token": "none"}}],
        "contexts": [{"name": "recorded", "context": {"cluster": "recorded", "user": "recorded"}}],
        "current-context": "recorded",
    }
    (directory / "new").write_text(json.dumps(kubeconfig))
    (directory / "new").rename(directory / "kubeconfig")
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextmanager
def recorded(pods: int, events: int) -> Iterator[Path]:
    """The kubeconfig of such a server, which runs as long as the block."""
    with TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.recorded_server", directory, str(pods), str(events)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
            try:
                kubeconfig, due = Path(directory) / "kubeconfig", time.monotonic() + _READY_WITHIN
                while not kubeconfig.exists():
                    if server.poll() is not None or time.monotonic() > due:
                        raise RuntimeError("the recorded server did not begin")
                    time.sleep(0.05)
                yield kubeconfig
            finally:
                server.terminate()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
