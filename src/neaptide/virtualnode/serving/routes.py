"""What a kubelet answers, by path: an answer to send, or a target to lead the connection to.

Source of paths and parameters: kubernetes/kubernetes pkg/kubelet/server/server.go.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import Struct

from neaptide.model.problems import FieldError
from neaptide.model.times import seconds
from neaptide.virtualnode.pods import Pods
from neaptide.virtualnode.provider import (
    ExecOptions,
    LogOptions,
    PodProvider,
    ProviderError,
    StreamTarget,
    UnknownPodError,
    UnsupportedError,
    VirtualPod,
)
from neaptide.virtualnode.serving.stats import resource_metrics, summary
from neaptide.virtualnode.states import Waiting

_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"
_MINIMUM = {"tailLines": 0, "limitBytes": 1, "sinceSeconds": 1}


class Answer(Struct):
    """An answer whose body is whole, or comes chunk by chunk."""

    status: int = 200
    body: bytes = b""
    content_type: str = _TEXT
    chunks: AsyncIterator[bytes] | None = None


class Asked(Struct, frozen=True):
    """A request: the parts of its path, decoded, and its parameters."""

    parts: tuple[str, ...]
    query: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, target: str) -> "Asked":
        path, _, query = target.partition("?")
        parts = tuple(unquote(part) for part in path.split("/") if part)
        return cls(parts, parse_qs(query, keep_blank_values=True))

    def flag(self, name: str) -> bool:
        return (self.query.get(name) or ["false"])[0] in ("true", "1", "True")

    def number(self, name: str) -> int | None:
        """Raises ValueError where it is none, or too small."""
        text = (self.query.get(name) or [""])[0]
        if not text:
            return None
        if not text.lstrip("-").isdecimal() or int(text) < _MINIMUM.get(name, 0):
            raise ValueError(f"{name}: {text!r} is not accepted; accepted: a whole number from {_MINIMUM.get(name, 0)}")
        return int(text)


class _ProblemError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Routes:
    """The paths of one node's kubelet."""

    def __init__(self, provider: PodProvider, pods: Pods, node: str) -> None:
        self._provider, self._pods, self._node = provider, pods, node
        self._at: dict[str, Callable[[Asked], Awaitable[Answer | StreamTarget]]] = {
            "healthz": self._healthz,
            "pods": self._pod_list,
            "runningpods": self._running_pods,
            "containerLogs": self._logs,
            "exec": self._exec,
            "attach": self._attach,
            "portForward": self._port_forward,
            "stats/summary": self._summary,
            "metrics/resource": self._metrics,
        }

    async def answer(self, target: str) -> Answer | StreamTarget:
        """What a request gets. Errors are answers."""
        asked = Asked.of(target)
        found = self._at.get("/".join(asked.parts[:2])) or self._at.get(asked.parts[0] if asked.parts else "")
        if found is None:
            return Answer(404, b"404 page not found\n")
        try:
            return await found(asked)
        except _ProblemError as error:
            return Answer(error.status, f"{error}\n".encode())
        except (ValueError, FieldError) as error:
            return Answer(400, f"{error}\n".encode())
        except ProviderError as error:
            status = 404 if isinstance(error, UnknownPodError) else 501 if isinstance(error, UnsupportedError) else 503
            return Answer(status, f"{error}\n".encode())

    async def _healthz(self, asked: Asked) -> Answer:
        del asked
        await self._provider.ping()
        return Answer(body=b"ok")

    async def _pod_list(self, asked: Asked) -> Answer:
        del asked
        return self._list(self._pods.wanted.values())

    async def _running_pods(self, asked: Asked) -> Answer:
        del asked
        return self._list(pod for uid, pod in self._pods.wanted.items() if not self._ended(uid))

    def _ended(self, uid: str) -> bool:
        state = self._pods.states.get(uid)
        return state is None or state.stopped

    def _list(self, pods: Any) -> Answer:  # noqa: ANN401 - any iterable of pods
        items = [pod.object for pod in pods]
        body = {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items}
        return Answer(body=msgspec.json.encode(body), content_type=_JSON)

    async def _summary(self, asked: Asked) -> Answer:
        del asked
        found = summary(self._node, await self._stats(), time.time())
        return Answer(body=msgspec.json.encode(found), content_type=_JSON)

    async def _metrics(self, asked: Asked) -> Answer:
        del asked
        return Answer(body=resource_metrics(await self._stats()).encode())

    async def _stats(self) -> Any:  # noqa: ANN401 - a list of PodStats
        return [each for each in await self._provider.stats() if each.uid in self._pods.wanted]

    async def _logs(self, asked: Asked) -> Answer:
        pod, container = self._container(asked)
        since = asked.number("sinceSeconds")
        moment = (asked.query.get("sinceTime") or [""])[0]
        options = LogOptions(
            follow=asked.flag("follow"),
            previous=asked.flag("previous"),
            timestamps=asked.flag("timestamps"),
            tail=asked.number("tailLines"),
            limit_bytes=asked.number("limitBytes"),
            since=seconds(moment) if moment else None if since is None else time.time() - since,
        )
        self._must_have_begun(pod, container, previous=options.previous)
        chunks = self._provider.logs(pod.uid, container, options)
        first = await anext(chunks, b"")  # an error of the provider is still an answer, not a cut connection
        return Answer(chunks=_limited(first, chunks, options.limit_bytes))

    def _must_have_begun(self, pod: VirtualPod, container: str, *, previous: bool) -> None:
        state = self._pods.states.get(pod.uid)
        known = next((each for each in state.every() if each.name == container), None) if state else None
        if previous:
            if known is None or known.last is None:
                raise _ProblemError(400, f'previous terminated container "{container}" in pod "{pod.name}" not found')
        elif known is None or (isinstance(known.state, Waiting) and known.last is None):
            reason = known.state.reason if known and isinstance(known.state, Waiting) else "ContainerCreating"
            raise _ProblemError(400, f'container "{container}" in pod "{pod.name}" is waiting to start: {reason}')

    async def _exec(self, asked: Asked) -> StreamTarget:
        pod, container = self._container(asked)
        options = msgspec.structs.replace(_streams(asked), command=tuple(asked.query.get("command") or ()))
        return await self._provider.exec(pod.uid, container, options)

    async def _attach(self, asked: Asked) -> StreamTarget:
        pod, container = self._container(asked)
        return await self._provider.attach(pod.uid, container, _streams(asked))

    async def _port_forward(self, asked: Asked) -> StreamTarget:
        pod = self._pod(asked)
        ports = [int(each) for each in asked.query.get("port") or ()]
        return await self._provider.port_forward(pod.uid, ports)

    def _pod(self, asked: Asked) -> VirtualPod:
        """The pod of `/.../namespace/pod[/uid]...`."""
        if len(asked.parts) < 3:
            raise _ProblemError(404, "404 page not found")
        _, namespace, name = asked.parts[:3]
        for pod in self._pods.wanted.values():
            if (pod.namespace, pod.name) == (namespace, name):
                return pod
        raise _ProblemError(404, f'pod "{namespace}/{name}" does not exist on this node')

    def _container(self, asked: Asked) -> tuple[VirtualPod, str]:
        """Pod and container of `/.../namespace/pod[/uid]/container`."""
        pod = self._pod(asked)
        if len(asked.parts) < 4:
            raise _ProblemError(404, "404 page not found")
        container = asked.parts[-1]
        kinds = ("containers", "initContainers", "ephemeralContainers")
        names = [each["name"] for kind in kinds for each in pod.spec.get(kind) or ()]
        if container not in names:
            raise _ProblemError(404, f'container "{container}" not found in pod "{pod.namespace}/{pod.name}"')
        return pod, container


def _streams(asked: Asked) -> ExecOptions:
    return ExecOptions(
        stdin=asked.flag("input"), stdout=asked.flag("output"), stderr=asked.flag("error"), tty=asked.flag("tty")
    )


async def _limited(first: bytes, chunks: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    """No more bytes than wanted."""
    left = float("inf") if limit is None else limit
    chunk = first
    try:
        while chunk:
            if len(chunk) >= left:
                yield chunk[: int(left)]
                return
            left -= len(chunk)
            yield chunk
            chunk = await anext(chunks, b"")
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
