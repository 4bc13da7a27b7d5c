from pathlib import Path

import pytest

from neaptide.agent.originals import Entry, Originals
from neaptide.records.log import LogInUseError


def test_what_was_noted_is_there_the_next_time(tmp_path: Path) -> None:
    first = Originals(tmp_path, "boot")
    first.note({"/a": Entry("1\n", ("2",)), "/b": Entry("3\n", ("4",))})
    first.note({"/a": Entry("1\n", ("2", "5"))}, dropped=("/b",))
    first.close()
    second = Originals(tmp_path, "boot")
    assert second.entries == {"/a": Entry("1\n", ("2", "5"))}
    second.close()


def test_rotation_loses_no_original(tmp_path: Path) -> None:
    first = Originals(tmp_path, "boot")
    first.note({f"/kept/{number}": Entry("x" * 1000, ("y",)) for number in range(300)})
    for number in range(9000):
        first.note({"/busy": Entry("1\n", (str(number), "z" * 1500))})
    first.close()
    assert len(list(tmp_path.glob("originals.*.jsonl"))) > 1
    assert not (tmp_path / "originals.000000000001.jsonl").exists()
    second = Originals(tmp_path, "boot")
    assert len(second.entries) == 301
    assert second.entries["/busy"].ours[0] == "8999"
    second.close()


def test_a_damaged_line_loses_no_other(tmp_path: Path) -> None:
    first = Originals(tmp_path, "boot")
    first.note({"/a": Entry("1\n", ("2",))})
    first.note({"/b": Entry("1\n", ("2",))})
    first.note({"/c": Entry("1\n", ("2",))})
    first.close()
    log = next(tmp_path.glob("originals.*.jsonl"))
    log.write_text(log.read_text().replace("/b", "/X"))
    second = Originals(tmp_path, "boot")
    assert set(second.entries) == {"/a", "/c"}
    assert len(second.corrupt) == 1
    second.close()


def test_two_agents_do_not_keep_one_node(tmp_path: Path) -> None:
    first = Originals(tmp_path, "boot")
    with pytest.raises(LogInUseError):
        Originals(tmp_path, "boot")
    first.close()
