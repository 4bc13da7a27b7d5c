"""The admission webhook: pods in, what to add to them out. Whatever goes wrong in here, the pod is admitted and it is counted."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from neaptide.admission.pipeline import UNCHANGED, RuleSetting, Verdict, admit
from neaptide.admission.protocols import Namespace
from neaptide.admission.review import Request as Review
from neaptide.admission.review import answer, pod_of, request_of

PATH = "/admit/pods"
_JSON = "application/json"
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
_LONGEST = 2**24  # bytes; the API server takes 3 MiB of an object

FindNamespace = Callable[[str], Awaitable[Namespace]]
Admitted = Callable[[str, Mapping[str, Any]], object]
"""Is told the namespace, and the pod as it was let in, where that was no rehearsal."""


class Webhook:
    """Answers reviews.

    Args:
        find_namespace: a namespace by its name. Raises LookupError where it is not known.
        registry: where its metrics go.
        admitted: is told whom it has added something to, before the next review is looked at.

    Attributes:
        settings: what is asked of new pods; replaced as Policies change.
        app: the application to serve.
    """

    def __init__(
        self, find_namespace: FindNamespace, registry: CollectorRegistry, admitted: Admitted = lambda *_: None
    ) -> None:
        self._find_namespace, self._admitted = find_namespace, admitted
        self._log = structlog.get_logger()
        self._reviews = Counter(
            "neaptide_admission_reviews",
            "Pods that the API server asked about: patched, unchanged, refused, or failed (admitted as they were).",
            ["result"],
            registry=registry,
        )
        self._seconds = Histogram(
            "neaptide_admission_seconds", "Time to answer a review.", buckets=_BUCKETS, registry=registry
        )
        self.settings: Sequence[RuleSetting] = ()
        self.app = Starlette(routes=[Route(PATH, self._admit, methods=["POST"])])

    async def review(self, body: bytes) -> bytes:
        """The answer to a review. Raises MsgspecError where the body is none."""
        began = time.perf_counter()
        request = request_of(body)
        verdict, result = await self._verdict(request)
        self._reviews.labels(result).inc()
        self._seconds.observe(time.perf_counter() - began)
        return answer(request, verdict)

    async def _verdict(self, request: Review) -> tuple[Verdict, str]:
        if not (self.settings and request.creates_a_pod):
            return UNCHANGED, "unchanged"
        try:
            namespace = await self._find_namespace(request.namespace)
            pod = pod_of(request)
            verdict = admit(pod, namespace._replace(request=request.uid), self.settings)
            if verdict.patch and not verdict.refusal and not request.dry_run:
                self._admitted(namespace.name, pod)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep pods out
            self._log.exception("admission failed", namespace=request.namespace, error=str(error))
            return UNCHANGED, "failed"
        return verdict, "refused" if verdict.refusal else "patched" if verdict.patch else "unchanged"

    async def _admit(self, request: Request) -> Response:
        if int(request.headers.get("content-length", _LONGEST)) >= _LONGEST:
            return Response("a review has a Content-Length below 16 MiB", status_code=413)
        try:
            return Response(await self.review(await request.body()), media_type=_JSON)
        except msgspec.MsgspecError as error:
            return Response(f"not an AdmissionReview of admission.k8s.io/v1: {error}", status_code=400)
