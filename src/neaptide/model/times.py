"""RFC 3339 timestamps as seconds since the epoch, and Go's durations as seconds."""

import re
from datetime import UTC, datetime
from functools import lru_cache

from neaptide.model.problems import FieldError

_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


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


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as `1h30m`; None for what is none."""
    sign, body = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if body == "0":
        return 0.0
    parts = _DURATION_PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        return None
    return sign * sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
