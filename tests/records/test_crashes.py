"""Faults, injected for real: processes killed in mid-write, files cut at every byte, disks that are full."""

import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from neaptide.records.line import segments
from neaptide.records.log import Log
from neaptide.records.reading import Reader, read

WRITER = """
import sys
from neaptide.records.log import Log
directory, padding, max_bytes, keep = sys.argv[1], *map(int, sys.argv[2:])
with Log(directory, "journal", max_bytes=max_bytes, keep=keep or None) as log:
    while True:
        print(log.append({"n": log.last_seq + 1, "padding": "x" * padding}), flush=True)
"""


def start_writer(directory: Path, *, padding: int, max_bytes: int, keep: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(directory), str(padding), str(max_bytes), str(keep)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program, to be killed


@pytest.mark.parametrize("padding", [10, 3_000_000], ids=["short records", "long records, that a kill tears"])
def test_what_append_returned_for_survives_a_kill_in_mid_write(tmp_path: Path, padding: int) -> None:
    delays = random.Random(1)
    last = 0
    for _ in range(12):
        with start_writer(tmp_path, padding=padding, max_bytes=5 * padding, keep=3) as writer:
            assert writer.stdout is not None
            answers = [writer.stdout.readline()]
            time.sleep(delays.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
            answers += [line for line in writer.stdout if line.endswith("\n")]
        found = [(seq, record["n"]) for seq, record in read(tmp_path, "journal")]
        oldest = segments(tmp_path, "journal")[0].first_seq
        assert found == [(n, n) for n in range(oldest, oldest + len(found))]
        assert found[-1][0] >= int(answers[-1]) > last
        last = found[-1][0]


def test_a_log_cut_at_any_byte_of_its_last_line_opens_with_all_before_it(tmp_path: Path) -> None:
    with Log(tmp_path, "journal") as log:
        log.extend([{"n": 1}, {"n": 2}, {"n": 3, "text": "été"}])
    path = segments(tmp_path, "journal")[0].path
    whole = path.read_bytes()
    start = whole.rindex(b'{"seq":3')
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        assert [seq for seq, _ in read(tmp_path, "journal")] == [1, 2]
        with Log(tmp_path, "journal") as log:
            assert log.append({"n": "again"}) == 3
        assert [record for _, record in read(tmp_path, "journal")] == [{"n": 1}, {"n": 2}, {"n": "again"}]


@pytest.mark.parametrize("tail", [b"\0" * 5000, b'{"seq":3,"crc":"', b"\xff\xfe"], ids=["zeros", "a start", "no text"])
def test_what_a_crash_left_behind_the_last_line_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    with Log(tmp_path, "journal") as log:
        log.extend([{"n": 1}, {"n": 2}])
    path = segments(tmp_path, "journal")[0].path
    with path.open("ab") as file:
        file.write(tail)
    with Log(tmp_path, "journal") as log:
        assert log.append({"n": 3}) == 3
    assert [seq for seq, _ in read(tmp_path, "journal")] == [1, 2, 3]


def test_a_full_disk_tears_no_line_and_the_log_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files makes the system write a part and then refuse, as a full disk does."""
    previous_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Log(tmp_path, "journal") as log:
        log.append({"n": 1})
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            with pytest.raises(OSError, match="too large"):
                log.extend([{"n": 2}, {"n": 3, "padding": "x" * 2000}])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous_handler)
        assert log.last_seq == 2
        assert log.append({"n": "room"}) == 3
    assert [record["n"] for _, record in read(tmp_path, "journal")] == [1, 2, "room"]


class LogUnderFaults(RuleBasedStateMachine):
    """Any order of appending, syncing, reopening, and losing power: what was synced is there, in order, and nothing is there twice."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: dict[int, int] = {}
        self.synced = 0
        self.value = 0

    @initialize(max_bytes=st.integers(1, 400), keep=st.sampled_from([None, 2, 3]))
    def open_first(self, max_bytes: int, keep: int | None) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        self.directory = Path(self.temporary.name)
        self.max_bytes, self.keep = max_bytes, keep
        self.open()

    def open(self) -> None:
        self.log = Log(self.directory, "journal", max_bytes=self.max_bytes, keep=self.keep)
        self.files_synced = self.sizes()

    def sizes(self) -> dict[Path, int]:
        return {segment.path: segment.path.stat().st_size for segment in segments(self.directory, "journal")}

    @rule(sizes=st.lists(st.integers(0, 120), max_size=5))
    def append(self, sizes: list[int]) -> None:
        first = self.log.last_seq + 1
        values = range(self.value, self.value + len(sizes))
        last = self.log.extend({"v": value, "p": "x" * size} for value, size in zip(values, sizes, strict=True))
        assert last == first + len(sizes) - 1
        self.appended |= dict(zip(range(first, last + 1), values, strict=True))
        self.value += len(sizes)

    @rule()
    def sync(self) -> None:
        self.log.sync()
        self.synced = self.log.last_seq
        self.files_synced = self.sizes()

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.synced = self.log.last_seq
        self.open()

    @precondition(lambda self: self.log.last_seq > 0)
    @rule(data=st.data(), garbage=st.sampled_from([b"", b"\0\0\0", b'{"seq":']))
    def lose_power(self, data: st.DataObject, garbage: bytes) -> None:
        """The newest file falls back to any length from what was synced on; rotation has synced the others."""
        self.log.close()
        path = segments(self.directory, "journal")[-1].path
        length = data.draw(st.integers(self.files_synced.get(path, 0), path.stat().st_size), label="length")
        path.write_bytes(path.read_bytes()[:length] + garbage)
        self.open()
        for lost in [seq for seq in self.appended if seq > self.log.last_seq]:
            assert lost > self.synced
            del self.appended[lost]

    @invariant()
    def what_is_there_is_what_was_appended(self) -> None:
        if not hasattr(self, "log"):
            return
        found = [(seq, record["v"]) for seq, record in read(self.directory, "journal")]
        oldest = segments(self.directory, "journal")[0].first_seq
        assert found == [(seq, value) for seq, value in self.appended.items() if seq >= oldest]
        assert oldest == 1 or len(segments(self.directory, "journal")) == self.keep

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close()
            self.temporary.cleanup()


TestLogUnderFaults = LogUnderFaults.TestCase
TestLogUnderFaults.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_reader_beside_a_writer_sees_every_record_once_and_whole(tmp_path: Path) -> None:
    reader = Reader(tmp_path, "journal")
    seen: list[int] = []
    with start_writer(tmp_path, padding=200, max_bytes=20_000, keep=0) as writer:
        assert writer.stdout is not None
        for answer in writer.stdout:
            seen += [record["n"] for _, record in reader.poll()]
            if int(answer) >= 3000:
                break
        writer.send_signal(signal.SIGKILL)
        writer.stdout.read()
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 3000
