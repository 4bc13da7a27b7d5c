"""Plain HTTP for kubelets and Prometheus: /healthz, /readyz, /metrics."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Check = Callable[[], str]
"""Why something is not well, empty where it is."""
Handler = Callable[[web.Request], Awaitable[web.Response]]


class HealthServer:
    """Answers on one port, from the moment it is started until it is stopped."""

    def __init__(self, host: str, port: int, *, alive: Check, ready: Check, metrics: Callable[[], bytes]) -> None:
        app = web.Application()
        app.router.add_get("/healthz", _answer(alive))
        app.router.add_get("/readyz", _answer(ready))
        app.router.add_get("/metrics", _exposition(metrics))
        self._host, self._port = host, port
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Raises OSError where the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()


def _answer(check: Check) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(status=503 if problem else 200, text=(problem or "ok") + "\n")

    return handle


def _exposition(metrics: Callable[[], bytes]) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return handle
