"""Where answers are cut, however the bytes come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.testbed.faults import Cutter, Fault

EVENTS = [b'{"type":"ADDED","object":{"a":{}}}\n', b'{"type":"BOOKMARK"}\n', b'{"x":"}\\n"}\n']
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
    f"{len(event):x}\r\n".encode() + event + b"\r\n" for event in EVENTS
)


def cut(fault: Fault, steps: list[int]) -> tuple[bytes, bool]:
    """What gets through of the stream when it comes in parts of these sizes, and whether it was cut."""
    cutter, through, at = Cutter(fault), b"", 0
    for step in [*steps, len(STREAM)]:
        part, ended = cutter.let_through(STREAM[at : at + step])
        through += part
        at += step
        if ended:
            return through, True
    return through, False


@given(steps=st.lists(st.integers(1, 40)), events=st.integers(1, 4))
def test_so_many_events_get_through_whole(steps: list[int], events: int) -> None:
    through, ended = cut(Fault(cut_events=events), steps)
    if events > len(EVENTS):
        assert (through, ended) == (STREAM, False)
        return
    assert ended
    assert through == STREAM[: STREAM.index(EVENTS[events - 1]) + len(EVENTS[events - 1])]


@given(steps=st.lists(st.integers(1, 40)), count=st.integers(0, len(STREAM) + 10))
def test_so_many_bytes_get_through(steps: list[int], count: int) -> None:
    through, ended = cut(Fault(cut_bytes=count), steps)
    assert through == STREAM[:count]
    assert ended is (count <= len(STREAM))


@pytest.mark.parametrize("steps", [[], [3, 5, 7]], ids=["at once", "in parts"])
def test_without_a_fault_all_gets_through(steps: list[int]) -> None:
    assert cut(Fault(), steps) == (STREAM, False)
