"""RFC 3339 timestamps as seconds since the epoch."""

from datetime import UTC, datetime
from functools import lru_cache

from neaptide.model.problems import FieldError


@lru_cache(maxsize=1 << 14)
def seconds(timestamp: str | None) -> float:
    """`2026-11-21T08:00:00Z` as seconds since the epoch; None is nan. Raises FieldError for what is no timestamp."""
    if timestamp is None:
        return float("nan")
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise FieldError("metadata timestamp", timestamp, "an RFC 3339 time such as 2026-11-21T08:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def timestamp(moment: float) -> str:
    """Seconds since the epoch as RFC 3339, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
