"""Parsers that several data sets share, beside those of `rows`."""

import math
from datetime import UTC, datetime

from neaptide.simulator.traces.rows import Parser

_LARGEST = 2**53  # whole numbers up to here are exact in float64, and fit int64
_UNKNOWN = {"", "nan", "null", "none"}  # what the public files write where nothing is known


def whole(low: int) -> Parser:
    """A whole number, `low` or more."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= _LARGEST:
            raise ValueError(text)
        return value

    return Parser(parse, f"a whole number, {low} or more")


def scaled(factor: int) -> Parser:
    """An amount as a whole number of its `factor`-th parts, rounded up: with 1000, 0.5 cores are 500."""

    def parse(text: str) -> int:
        value = math.ceil(round(float(text) * factor, 6))  # 4.35 * 1000 is a little more than 4350
        if not 0 <= value <= _LARGEST:
            raise ValueError(text)
        return value

    return Parser(parse, "a finite number, 0 or more")


def or_unknown(parser: Parser) -> Parser:
    """What a parser of numbers accepts, as a float; NaN where the file states nothing."""

    def parse(text: str) -> float:
        return math.nan if text.lower() in _UNKNOWN else float(parser.parse(text))

    return Parser(parse, f"{parser.accepted}, or nothing where unknown")


def _amount(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(text)
    return value


def _seconds(text: str) -> float:
    value = round(_amount(text), 6)
    if value > _LARGEST:
        raise ValueError(text)
    return value


def _time(text: str) -> float:
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).timestamp()


AMOUNT = Parser(_amount, "a finite number, 0 or more")
SECONDS = Parser(_seconds, "seconds, 0 or more; read to the microsecond")
TIME = Parser(_time, "a date and time as 2014-02-14 14:27:00, in UTC unless it states an offset")
NAME_OR_UNKNOWN = Parser(
    lambda text: "" if text.lower() in _UNKNOWN else text, "a name, or nothing (nan, null, none) where unknown"
)


def show_time(seconds: float) -> str:
    """Seconds since the epoch as `TIME` reads them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ")
