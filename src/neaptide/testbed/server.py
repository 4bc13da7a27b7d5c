"""Calls to a control plane's servers, as far as the testbed itself needs them: JSON over one kept connection."""

import http.client
import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from neaptide.testbed.components import Component, Site
from neaptide.testbed.errors import TestbedError

_IDLE = 30.0  # seconds; servers close connections that were idle for longer, an API server after a minute and a half


class RefusedError(TestbedError):
    """The server answered, but not with success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answers {status}: {message}")
        self.status = status


class Server:
    """A connection to one component's server. It opens with the first call, and again after a failure or a pause; one thread uses it."""

    def __init__(self, component: Component, site: Site, *, timeout: float = 30.0) -> None:
        self._name = component.name
        port = site.ports[component.name]
        self._last = time.monotonic()
        self._connection: http.client.HTTPConnection
        if component.authority:
            context = ssl.create_default_context(cafile=site.pki(f"{component.authority}.crt"))
            context.load_cert_chain(site.pki(f"{component.client}.crt"), site.pki(f"{component.client}.key"))
            self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)
        else:
            self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | int | None = None) -> bytes:
        """The answer's body.

        Raises:
            RefusedError: the answer was no success.
            TestbedError: there was no answer.
        """
        if time.monotonic() - self._last > _IDLE:
            self._connection.close()
        content = None if body is None else msgspec.json.encode(body)
        try:
            self._connection.request(method, path, content, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = response.read()
            self._last = time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise TestbedError(f"the {self._name} does not answer: {error}") from error
        if not http.client.OK <= response.status < http.client.MULTIPLE_CHOICES:
            raise RefusedError(response.status, _message(answer))
        return answer

    def is_ready(self, path: str) -> bool:
        """Whether the path answers with success."""
        try:
            self.call("GET", path)
        except TestbedError:
            return False
        return True


def _message(answer: bytes) -> str:
    try:
        return str(msgspec.json.decode(answer)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return answer[:200].decode(errors="replace").strip()
