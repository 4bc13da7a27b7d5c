"""Starts take turns: namespaces among each other, whatever each of them asks for."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from neaptide.virtualnode.starts import Starts

QUICK = 10_000.0


def order(asked: list[str], *, gone: frozenset[int] = frozenset()) -> list[str]:
    """Whose pods start, in order, where all ask at once; `gone` are deleted before it is their turn."""

    async def run() -> list[str]:
        starts, began = Starts(QUICK, 1), list[str]()

        async def pod(namespace: str) -> None:
            await starts.turn(namespace)
            began.append(namespace)

        tasks = [asyncio.create_task(pod(each)) for each in asked]
        await asyncio.sleep(0)
        for each in gone:
            tasks[each].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return began

    return asyncio.run(run())


def test_one_pod_of_a_namespace_does_not_wait_for_a_thousand_of_another() -> None:
    assert "small" in order([*["storm"] * 1000, "small"])[:3]


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_everybody_starts_once_and_nobody_is_passed_over_for_more_than_a_round(asked: list[str]) -> None:
    began = order(asked)
    assert Counter(began) == Counter(asked)
    left = Counter(asked)
    for at, namespace in enumerate(began):
        left[namespace] -= 1
        others = {each for each in left if left[each] and each != namespace}
        following = began[at + 1 : at + 1 + len(others)]
        assert others <= set(following), f"after {began[: at + 1]} came {following}"


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=20), st.data())
def test_a_pod_that_is_deleted_while_it_waits_takes_nobodys_turn(asked: list[str], data: st.DataObject) -> None:
    gone = frozenset(data.draw(st.sets(st.integers(0, len(asked) - 1))))
    began = Counter(order(asked, gone=gone))
    assert began == Counter(each for at, each in enumerate(asked) if at not in gone)
