"""A runtime that fails: a gRPC server in front of a real one, which dies or hangs at the calls that it is told to."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio

from neaptide.virtualnode.cri import api_pb2 as api

_Handler = Callable[[bytes, Any], Coroutine[Any, Any, bytes]]


class Failure(NamedTuple):
    """How calls fail: the runtime `hangs` or dies, `after` it has done them or before; and of which calls the first one does."""

    hangs: bool
    after: bool
    calls: Collection[str] = ()


class Faulty:
    """Passes every call on, byte for byte, but for the first of those that fail.

    Attributes:
        seen: how often each call was made.
    """

    def __init__(self, behind: str, failure: Failure) -> None:
        self._failure = failure
        self._channel = grpc.aio.insecure_channel(behind, options=[("grpc.default_authority", "localhost")])
        self.seen: Counter[str] = Counter()

    def hangs_next(self, name: str) -> bool:
        """Whether a call that is made now will not be answered."""
        return self._failure.hangs and self._fails(name)

    def handler(self, service: str, name: str) -> _Handler:
        """What handles one call."""

        async def handle(request: bytes, context: Any) -> bytes:
            fails = self._fails(name)
            self.seen[name] += 1
            if fails and not self._failure.after:
                await self._fail(context)
            try:
                answer = await asyncio.shield(self._pass_on(f"/{service}/{name}", request))
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            if fails:
                await self._fail(context)
            return answer

        return handle

    async def close(self) -> None:
        await self._channel.close()

    def _fails(self, name: str) -> bool:
        return not self.seen[name] and name in self._failure.calls

    async def _fail(self, context: Any) -> None:
        if self._failure.hangs:
            await asyncio.get_running_loop().create_future()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the runtime died")

    def _pass_on(self, path: str, request: bytes) -> "asyncio.Task[bytes]":
        """As a task: a runtime goes on with a call whose caller has gone."""

        async def call() -> bytes:
            answer: bytes = await self._channel.unary_unary(path)(request, timeout=60)
            return answer

        return asyncio.create_task(call())


@asynccontextmanager
async def faulty(behind: str, socket: Path, failure: Failure) -> AsyncIterator[Faulty]:
    """A runtime at a socket that fails, with a real one behind it."""
    server, made = grpc.aio.server(), Faulty(behind, failure)
    for service in api.DESCRIPTOR.services_by_name.values():
        methods = {
            name: grpc.unary_unary_rpc_method_handler(made.handler(service.full_name, name))
            for name in service.methods_by_name
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, methods),))
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    try:
        yield made
    finally:
        await server.stop(None)
        await made.close()
