"""Logs in CRI's format, against the plain way to read them."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.virtualnode.provider import LogOptions
from neaptide.virtualnode.providers.containerd.logs import Line, parse, read_log

START = 1_796_040_000  # 2026-11-30T12:00:00Z


def stamp(second: int) -> str:
    return f"2026-11-30T12:{second // 60:02d}:{second % 60:02d}.123456789Z"


def read(content: bytes, options: LogOptions) -> bytes:
    async def reading(path: Path) -> bytes:
        return b"".join([chunk async for chunk in read_log(path, options, alive=lambda: False)])

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.log"
        path.write_bytes(content)
        return asyncio.run(reading(path))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"T stdout F hello there", Line(b"T", b"stdout", True, b"hello there")),
        (b"T stderr P part", Line(b"T", b"stderr", False, b"part")),
        (b"T stdout F ", Line(b"T", b"stdout", True, b"")),
        (b"T nowhere F x", None),
        (b"", None),
        (b"torn", None),
    ],
)
def test_a_line(line: bytes, expected: Line | None) -> None:
    assert parse(line) == expected


_texts = st.lists(st.lists(st.text("abc ", max_size=5), min_size=1, max_size=3), max_size=12)


@given(
    texts=_texts,
    tail=st.none() | st.integers(0, 15),
    since=st.none() | st.integers(0, 60),
    limit=st.none() | st.integers(0, 60),
)
def test_what_is_shown_is_what_the_plain_way_shows(
    texts: Sequence[Sequence[str]], tail: int | None, since: int | None, limit: int | None
) -> None:
    content, whole = "", []
    for second, parts in enumerate(texts, start=1):  # all parts of a line were written at once
        tags = ["P"] * (len(parts) - 1) + ["F"]
        content += "".join(f"{stamp(second)} stdout {tag} {part}\n" for tag, part in zip(tags, parts, strict=True))
        whole.append((START + second + 0.123456, "".join(parts) + "\n"))
    kept = (
        whole if tail is None else whole[len(whole) - tail :] if tail and tail < len(whole) else whole if tail else []
    )
    moment = None if since is None else START + since
    expected = "".join(text for time, text in kept if moment is None or time >= moment)
    options = LogOptions(tail=tail, since=moment, limit_bytes=limit)
    assert read(content.encode(), options).decode() == expected[:limit]


def test_timestamps_stand_before_whole_lines_and_a_torn_line_is_left_out() -> None:
    content = f"{stamp(1)} stdout P long \n{stamp(1)} stdout F line\n{stamp(2)} stderr F other\n{stamp(3)} stdo"
    assert read(content.encode(), LogOptions(timestamps=True)).decode() == (f"{stamp(1)} long line\n{stamp(2)} other\n")


def test_a_file_that_is_not_there_has_no_line(tmp_path: Path) -> None:
    async def reading() -> list[bytes]:
        return [chunk async for chunk in read_log(tmp_path / "none", LogOptions(follow=True), alive=lambda: False)]

    assert asyncio.run(reading()) == []
