"""The wire form of admission: an AdmissionReview (`admission.k8s.io/v1`) with a pod in, one with the answer out."""

from base64 import b64encode
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from neaptide.admission.pipeline import Verdict

API_VERSION = "admission.k8s.io/v1"
_FORBIDDEN = 403


class Resource(Struct, frozen=True, gc=False):
    """What is being written."""

    group: str = ""
    resource: str = ""


class Request(Struct, frozen=True, gc=False, rename="camel"):
    """What the API server asks. `object` is the object as it would be stored."""

    uid: str
    resource: Resource = Resource()
    sub_resource: str = ""
    namespace: str = ""
    operation: str = ""
    dry_run: bool = False
    object: Raw = Raw(b"null")

    @property
    def creates_a_pod(self) -> bool:
        return self.operation == "CREATE" and self.resource == _PODS and not self.sub_resource


class Status(Struct, frozen=True, gc=False):
    """Why something was refused."""

    message: str
    code: int = _FORBIDDEN


class Response(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """The answer; `patch` is a JSON Patch in base64."""

    uid: str
    allowed: bool
    patch_type: str | None = None
    patch: str | None = None
    status: Status | None = None
    warnings: tuple[str, ...] = ()
    audit_annotations: dict[str, str] = {}


class Review(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """Question and answer alike."""

    api_version: str = field(default="")
    kind: str = field(default="")
    request: Request | None = None
    response: Response | None = None


_PODS = Resource("", "pods")
_decode = msgspec.json.Decoder(Review).decode
_encode = msgspec.json.Encoder().encode


def request_of(body: bytes) -> Request:
    """The question in a review.

    Raises:
        MsgspecError: it is none.
    """
    request = _decode(body).request
    if request is None:
        raise msgspec.ValidationError("Object missing required field `request`")
    return request


def pod_of(request: Request) -> dict[str, Any]:
    """The pod of a request as plain JSON values.

    Raises:
        MsgspecError: it is no object.
    """
    return msgspec.json.decode(request.object, type=dict[str, Any])


def answer(request: Request, verdict: Verdict) -> bytes:
    """The review to send back."""
    response = Response(
        request.uid,
        allowed=not verdict.refusal,
        status=Status(verdict.refusal) if verdict.refusal else None,
        warnings=verdict.warnings,
    )
    if verdict.patch:
        response = msgspec.structs.replace(
            response,
            patch_type="JSONPatch",
            patch=b64encode(_encode(verdict.patch)).decode(),
            audit_annotations={"policies": ",".join(verdict.policies)},
        )
    return _encode(Review(API_VERSION, "AdmissionReview", response=response))
