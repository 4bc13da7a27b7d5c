"""Calls of CRI over a socket. The messages are CRI's own; a call is named as in the proto."""

from typing import Any

import grpc
import grpc.aio

from neaptide.virtualnode.cri import api_pb2 as api
from neaptide.virtualnode.provider import ProviderError

_IMAGES = frozenset({"ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"})
_LARGEST = 64 * 2**20
"""Bytes of an answer: a list of thousands of containers passes gRPC's 4 MiB."""
_AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})


class CriError(ProviderError):
    """A call that failed; `code` is gRPC's, as NOT_FOUND."""

    def __init__(self, call: str, code: str, details: str) -> None:
        super().__init__(f"{call}: {details or code}")
        self.code = code

    @property
    def away(self) -> bool:
        """Whether the runtime did not answer, so that what was asked may have been done or not."""
        return self.code in _AWAY


class Cri:
    """One runtime, by the address of its socket (`unix:///run/containerd/containerd.sock`)."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        options: list[tuple[str, str | int]] = [
            ("grpc.max_receive_message_length", _LARGEST),
            ("grpc.initial_reconnect_backoff_ms", 200),
        ]
        options += [("grpc.max_reconnect_backoff_ms", 2000), ("grpc.default_authority", "localhost")]
        self._channel = grpc.aio.insecure_channel(endpoint, options=options)
        self._methods: dict[str, Any] = {}

    async def call(self, name: str, *, within: float = 30.0, **fields: Any) -> Any:  # noqa: ANN401 - the call's own messages
        """Make a call with the fields of its request, and wait at most so many seconds for its answer. Raises CriError."""
        request = getattr(api, f"{name}Request")(**fields)
        try:
            return await self._method(name)(request, timeout=within)
        except grpc.aio.AioRpcError as error:
            raise CriError(name, error.code().name, error.details() or "") from error

    async def close(self) -> None:
        await self._channel.close()

    def _method(self, name: str) -> Any:  # noqa: ANN401 - gRPC's callable
        if name not in self._methods:
            service = "ImageService" if name in _IMAGES else "RuntimeService"
            self._methods[name] = self._channel.unary_unary(
                f"/runtime.v1.{service}/{name}",
                request_serializer=getattr(api, f"{name}Request").SerializeToString,
                response_deserializer=getattr(api, f"{name}Response").FromString,
            )
        return self._methods[name]
