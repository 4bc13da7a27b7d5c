"""What others say of nodes that end: by a file, and by HTTP."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from neaptide.kube.notices import Notices

LINE = b'{"node": "a", "ends": "2026-11-30T14:02:00Z"}'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (LINE, ""),
        (b'{"node": "a", "notice": "Rebalance"}', ""),
        (b'{"notice": "Interruption"}', "required field `node`"),
        (b'{"node": "a", "notice": "Doom"}', "Invalid enum value 'Doom'"),
        (b'{"node": "a", "ends": "soon"}', "Invalid isoformat string"),
        (b"nothing", "malformed"),
    ],
)
def test_what_is_accepted(line: bytes, problem: str) -> None:
    notices = Notices()
    said = notices.tell(line, "test")
    assert (problem in said) if problem else not said
    assert [each.node for each in notices.current()] == ([] if problem else ["a"])


def test_a_notice_can_be_withdrawn_and_ends_with_its_node() -> None:
    notices = Notices()
    notices.tell(LINE, "test")
    notices.tell(b'{"node": "a", "withdrawn": true}', "test")
    assert not notices.current()
    notices.tell(LINE, "test")
    notices.forget(["a"])
    assert not notices.current()


def test_lines_are_taken_as_they_are_appended_and_a_bad_one_stops_nothing(tmp_path: Path) -> None:
    file, notices = tmp_path / "notices", Notices()

    async def appended() -> list[str]:
        following = asyncio.create_task(notices.follow(file))
        file.write_bytes(b"bad\n" + LINE + b'\n{"node": "b"')
        while not notices.current():  # noqa: ASYNC110 - the file tells nobody
            await asyncio.sleep(0.05)
        before = [each.node for each in notices.current()]
        with file.open("ab") as more:
            more.write(b"}\n")
        while len(notices.current()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        following.cancel()
        return before

    assert asyncio.run(asyncio.wait_for(appended(), 90)) == ["a"]
    assert {each.node for each in notices.current()} == {"a", "b"}


def test_the_endpoint_wants_its_token() -> None:
    notices = Notices()

    async def posted() -> list[int]:
        runner = await notices.serve("127.0.0.1", 0, "secret")
        url = "http://{}:{}/interruptions".format(*runner.addresses[0])
        try:
            async with aiohttp.ClientSession() as session:
                found = []
                for token, body in (("wrong", LINE), ("secret", b"{}"), ("secret", LINE)):
                    answer = await session.post(url, data=body, headers={"Authorization": f"Bearer {token}"})
                    found.append(answer.status)
                return found
        finally:
            await runner.cleanup()

    assert asyncio.run(posted()) == [401, 400, 202]
    assert [each.source for each in notices.current()] == ["webhook"]
