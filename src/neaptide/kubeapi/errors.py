"""What an API server refuses, and what the wire to it loses."""

# ruff: noqa: N818 - named by Kubernetes' reasons

import msgspec
from msgspec import Struct

_SHOWN = 300
_BUDGET = "DisruptionBudget"


class Cause(Struct, frozen=True, rename="camel"):
    """One of several reasons of a refusal: `reason` as FieldManagerConflict, `field` as a path in the object."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(Struct, frozen=True, rename="camel"):
    """What a Status says of the object that was meant."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[Cause, ...] | None = None
    retry_after_seconds: float = 0


class Status(Struct, frozen=True):
    """`v1.Status`: how an API server says that a request failed."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None


class ApiError(Exception):
    """A request that did not succeed.

    Attributes:
        status: the HTTP status; 0 where no answer came.
        reason: Kubernetes' own word, as `NotFound`; for an answer without one, the class's name.
        message: the server's sentence.
        retry_after: seconds that the server asks to wait; None where it does not.
        details: the object that was meant, and the causes.
        request: method and path.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after: float | None = None,
        details: Details | None = None,
        *,
        request: str = "",
    ) -> None:
        super().__init__(status, reason, message)
        self.status, self.reason, self.message = status, reason, message
        self.retry_after, self.details, self.request = retry_after, details or Details(), request

    def __str__(self) -> str:
        answer = f"{self.status} {self.reason}" if self.status else self.reason
        return ": ".join(part for part in (self.request, answer, self.message) if part)

    @property
    def causes(self) -> tuple[Cause, ...]:
        return self.details.causes or ()


class ConfigError(ApiError, ValueError):
    """A kubeconfig, a token file or a credential plugin that cannot be used: where, what stood there, what is accepted.

    It may come with any request, for files and programs are asked again and again: so it is an ApiError, and who goes on after
    those goes on after this.
    """

    def __init__(self, message: str) -> None:
        super().__init__(0, "ConfigError", message)

    def __str__(self) -> str:
        return self.message


class NotFound(ApiError):
    """404: no such object, or no such resource."""


class AlreadyExists(ApiError):
    """409 of a create."""


class Conflict(ApiError):
    """409: the object is another than the one expected, or fields belong to another manager."""


class Gone(ApiError):
    """410: a resource version or a list's continuation that the server no longer has."""


class Invalid(ApiError):
    """400 or 422: the request or its object is wrong."""


class Forbidden(ApiError):
    """403: not allowed to this user, or refused by admission."""


class Unauthorized(ApiError):
    """401: the credentials are not accepted."""


class DisruptionBudgetExceeded(ApiError):
    """429 of an eviction: a PodDisruptionBudget allows no further one now."""


class RateLimited(ApiError):
    """429 of priority and fairness: the server has too much to do; nothing was done."""


class ServerTimeout(ApiError):
    """504, or 500 with the reason ServerTimeout: whether it was done is unknown."""


class Unavailable(ApiError):
    """502 or 503: the server is starting, stopping, or not reachable behind its proxy."""


class ConnectionLost(ApiError):
    """No connection, or it broke before the whole answer was there: whether a write was done is unknown."""


class DeadlineExceeded(ConnectionLost):
    """No answer within the request's time."""


class LeaseLost(ApiError):
    """The request was not sent: this process does not hold the lease, or not for long enough."""


_BY_REASON: dict[str, type[ApiError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Gone": Gone,
    "Expired": Gone,
    "Invalid": Invalid,
    "BadRequest": Invalid,
    "Forbidden": Forbidden,
    "Unauthorized": Unauthorized,
    "TooManyRequests": RateLimited,
    "Timeout": ServerTimeout,
    "ServerTimeout": ServerTimeout,
    "ServiceUnavailable": Unavailable,
}
_BY_CODE: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: ServerTimeout,
}


def from_answer(code: int, body: bytes, *, retry_after: str | None = None, request: str = "") -> ApiError:
    """The error that an answer means. A body that is no Status is shown by its beginning; a wrong Retry-After is ignored."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        status = Status()
    if status.kind != "Status":
        shown = body[:_SHOWN].decode(errors="replace").strip() or "the answer has no body"
        status = Status(code=code, message=shown)
    return from_status(status, code=code, retry_after=_seconds(retry_after), request=request)


def from_status(status: Status, *, code: int = 0, retry_after: float | None = None, request: str = "") -> ApiError:
    """The error that a Status means: by its reason, else by its code."""
    code = status.code or code
    details = status.details or Details()
    kind = _BY_REASON.get(status.reason) or _BY_CODE.get(code, ApiError)
    if kind is RateLimited and any(cause.reason == _BUDGET for cause in details.causes or ()):
        kind = DisruptionBudgetExceeded
    if retry_after is None and details.retry_after_seconds:
        retry_after = details.retry_after_seconds
    return kind(code, status.reason or kind.__name__, status.message, retry_after, details, request=request)


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; the form with a date is not used by API servers."""
    return float(text) if text and text.isdecimal() else None
