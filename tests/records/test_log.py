"""What the log promises: order, numbers that go on, bounded files, and nothing lost that was written."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from neaptide.records.line import segments
from neaptide.records.log import Log, LogInUseError
from neaptide.records.reading import Corrupt, CorruptLine, Position, Reader, read


class Decision(msgspec.Struct):
    pod: str
    reason: str


def numbers(directory: Path, since: int = 0) -> list[int]:
    return [seq for seq, _ in read(directory, "journal", since=since)]


def test_records_come_back_in_order_with_numbers_from_one(tmp_path: Path) -> None:
    with Log(tmp_path, "journal") as log:
        assert log.last_seq == 0
        assert log.append({"text": 'line\nbreak "quoted" \u2028 ü'}) == 1
        assert log.append(Decision(pod="default/web-0", reason="fits")) == 2
        assert log.extend([{"n": 3}, {"n": 4}]) == 4
    assert list(read(tmp_path, "journal")) == [
        (1, {"text": 'line\nbreak "quoted" \u2028 ü'}),
        (2, {"pod": "default/web-0", "reason": "fits"}),
        (3, {"n": 3}),
        (4, {"n": 4}),
    ]


def test_every_line_is_json_for_cat_and_jq(tmp_path: Path) -> None:
    with Log(tmp_path, "journal") as log:
        log.append({"pod": "web-0"})
    line = msgspec.json.decode(segments(tmp_path, "journal")[0].path.read_bytes())
    assert (line["seq"], line["record"]) == (1, {"pod": "web-0"})


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        with Log(tmp_path, "journal") as log:
            assert log.append({"n": expected}) == expected
    assert numbers(tmp_path) == [1, 2, 3]


def test_files_are_bounded_in_size_and_number_and_numbers_go_on(tmp_path: Path) -> None:
    with Log(tmp_path, "journal", max_bytes=500, keep=3) as log:
        for n in range(1, 101):
            assert log.append({"n": n, "padding": "x" * 50}) == n
    files = segments(tmp_path, "journal")
    assert len(files) == 3
    assert all(file.path.stat().st_size <= 500 for file in files)
    assert numbers(tmp_path) == list(range(files[0].first_seq, 101))


def test_a_batch_is_spread_over_as_many_files_as_it_needs(tmp_path: Path) -> None:
    with Log(tmp_path, "journal", max_bytes=200, keep=None) as log:
        log.extend({"n": n} for n in range(50))
    assert len(segments(tmp_path, "journal")) > 10
    assert numbers(tmp_path) == list(range(1, 51))


def test_a_record_longer_than_a_file_has_a_file_of_its_own(tmp_path: Path) -> None:
    with Log(tmp_path, "journal", max_bytes=100) as log:
        log.extend([{"n": 1}, {"n": 2, "padding": "x" * 1000}, {"n": 3}])
    assert [file.first_seq for file in segments(tmp_path, "journal")] == [1, 2, 3]
    assert numbers(tmp_path) == [1, 2, 3]


def test_a_number_is_not_given_twice_where_the_newest_file_is_empty(tmp_path: Path) -> None:
    with Log(tmp_path, "journal", max_bytes=100, keep=1) as log:
        log.extend({"n": n} for n in range(1, 8))
    files = segments(tmp_path, "journal")
    files[-1].path.write_bytes(b"")
    with Log(tmp_path, "journal") as log:
        assert log.append({}) == files[-1].first_seq


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    with Log(tmp_path, "journal"):
        with pytest.raises(LogInUseError, match="has a writer"):
            Log(tmp_path, "journal")
        Log(tmp_path, "bills").close()
    Log(tmp_path, "journal").close()


def test_a_closed_log_takes_no_records(tmp_path: Path) -> None:
    log = Log(tmp_path, "journal", sync_each=True)
    log.append({"n": 1})
    log.close()
    log.close()
    with pytest.raises(ValueError, match="'journal' is closed"):
        log.append({"n": 2})
    assert numbers(tmp_path) == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"name": "../journal"}, "a log is named by", id="a name is no path"),
        pytest.param({"name": ""}, "a log is named by", id="a name is not empty"),
        pytest.param({"max_bytes": 0}, "max_bytes is at least 1", id="files hold something"),
        pytest.param({"keep": 0}, "keep is at least 1", id="one file is kept"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Log(tmp_path, **{"name": "journal", **arguments})


@pytest.mark.parametrize("record", [[1], "text", None, {"value": object()}], ids=["list", "text", "null", "no JSON"])
def test_a_record_that_is_no_json_object_is_refused_and_leaves_no_trace(tmp_path: Path, record: Any) -> None:
    with Log(tmp_path, "journal") as log:
        log.append({"n": 1})
        with pytest.raises(TypeError):
            log.extend([{"n": 2}, record])
        assert log.append({"n": 2}) == 2
    assert list(read(tmp_path, "journal")) == [(1, {"n": 1}), (2, {"n": 2})]


def test_nothing_is_read_from_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert list(read(tmp_path / "nowhere", "journal")) == []


@pytest.mark.parametrize("since", [0, 1, 17, 39, 40, 41])
def test_reading_starts_behind_a_number(tmp_path: Path, since: int) -> None:
    with Log(tmp_path, "journal", max_bytes=200, keep=None) as log:
        log.extend({"n": n} for n in range(40))
    assert numbers(tmp_path, since) == list(range(since + 1, 41))


def test_a_reader_follows_a_log_over_rotation_and_never_repeats(tmp_path: Path) -> None:
    reader = Reader(tmp_path, "journal")
    assert list(reader.poll()) == []
    seen = []
    with Log(tmp_path, "journal", max_bytes=150, keep=None) as log:
        for n in range(1, 41):
            log.append({"n": n})
            if n % 3 == 0:
                seen += [seq for seq, _ in reader.poll()]
        seen += [seq for seq, _ in reader.poll()]
    assert seen == list(range(1, 41))
    assert list(reader.poll()) == []


def test_a_reader_that_stopped_half_way_goes_on_from_there(tmp_path: Path) -> None:
    with Log(tmp_path, "journal", max_bytes=150) as log:
        log.extend({"n": n} for n in range(10))
    reader = Reader(tmp_path, "journal")
    first = next(iter(reader.poll()))[0]
    stored = msgspec.json.decode(msgspec.json.encode(reader.position), type=Position)
    assert first == 1
    assert [seq for seq, _ in Reader(tmp_path, "journal", position=stored).poll()] == list(range(2, 11))
    assert [seq for seq, _ in reader.poll()] == list(range(2, 11))


def test_a_slow_reader_goes_on_with_the_oldest_file_that_is_left(tmp_path: Path) -> None:
    with Log(tmp_path, "journal", max_bytes=100, keep=2) as log:
        log.append({"n": 1})
        reader = Reader(tmp_path, "journal")
        assert [seq for seq, _ in reader.poll()] == [1]
        log.extend({"n": n} for n in range(2, 31))
    oldest = segments(tmp_path, "journal")[0].first_seq
    assert oldest > 2
    assert [seq for seq, _ in reader.poll()] == list(range(oldest, 31))


def test_a_partial_last_line_is_left_for_the_next_poll(tmp_path: Path) -> None:
    with Log(tmp_path, "journal") as log:
        log.extend([{"n": 1}, {"n": 2}])
    path = segments(tmp_path, "journal")[0].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    reader = Reader(tmp_path, "journal")
    assert [seq for seq, _ in reader.poll()] == [1]
    path.write_bytes(whole)
    assert [seq for seq, _ in reader.poll()] == [2]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        pytest.param(b'"n":2', b'"n":7', "checksum", id="a changed digit"),
        pytest.param(b'"seq":2', b'"seq":8', "checksum", id="a changed number"),
        pytest.param(b'{"seq":2', b"\0\0\0\0\0\0\0\0", "not a line of a log", id="zeros"),
        pytest.param(b'"record":{"n":2}}', b"", "not a line of a log", id="a cut line"),
    ],
)
def test_a_corrupt_line_is_reported_and_the_others_are_read(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    with Log(tmp_path, "journal") as log:
        log.extend([{"n": 1}, {"n": 2}, {"n": 3}])
    path = segments(tmp_path, "journal")[0].path
    first_line = path.read_bytes().index(b"\n") + 1
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    corrupt: list[Corrupt] = []
    assert [seq for seq, _ in read(tmp_path, "journal", on_corrupt=corrupt.append)] == [1, 3]
    assert [(problem.file, problem.offset) for problem in corrupt] == [(str(path), first_line)]
    assert reason in corrupt[0].reason
    with pytest.warns(CorruptLine, match=reason):
        list(read(tmp_path, "journal"))


def test_the_number_of_a_corrupt_last_line_is_not_given_again(tmp_path: Path) -> None:
    with Log(tmp_path, "journal") as log:
        log.extend([{"n": 1}, {"n": 2}])
    path = segments(tmp_path, "journal")[0].path
    path.write_bytes(path.read_bytes().replace(b'"n":2', b'"n":9'))
    with Log(tmp_path, "journal") as log:
        assert log.append({"n": 3}) == 3


def test_a_torn_end_of_a_file_that_has_a_successor_is_corrupt(tmp_path: Path) -> None:
    with Log(tmp_path, "journal", max_bytes=60) as log:
        log.extend([{"n": 1}, {"n": 2}])
    path = segments(tmp_path, "journal")[0].path
    path.write_bytes(path.read_bytes()[:-3])
    corrupt: list[Corrupt] = []
    assert [seq for seq, _ in read(tmp_path, "journal", on_corrupt=corrupt.append)] == [2]
    assert len(corrupt) == 1
