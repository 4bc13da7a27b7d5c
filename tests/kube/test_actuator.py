"""How long the actions of a cycle may take together, without a control plane: what they do is put in their place."""

import asyncio

import pytest
from tests.kube.live import WHY

from neaptide.kube import actuator
from neaptide.kube.acting.registry import Method
from neaptide.model.actions import Checkpoint, Evict, Ref

PODS, AT_ONCE, SECONDS = 120, 8, 0.2


def ended(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint | None) -> set[tuple[str, str]]:
    """Results and reasons of more evictions than two seconds suffice for."""

    async def saves(*_: object) -> None:
        await asyncio.sleep(SECONDS)

    monkeypatch.setattr(actuator, "METHODS", {Evict: Method(saves, "Evicted")})
    carrying = actuator.Actuator(None, patience=actuator.Patience(all=2.0, at_once=AT_ONCE))  # type: ignore[arg-type] # the method has no use for it
    evictions = [
        Evict(policy="test", target=Ref("Pod", f"p{each}", "default"), reason=WHY, node="a", checkpoint=checkpoint)
        for each in range(PODS)
    ]
    outcomes = asyncio.run(carrying.carry_out(evictions))
    assert [each.action for each in outcomes] == evictions
    return {(each.result, each.reason.code) for each in outcomes}


def test_many_checkpoints_do_not_use_up_the_time_of_evictions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, Checkpoint(("save",), seconds=SECONDS)) == {("Done", "Test")}


def test_what_has_not_begun_when_the_time_of_a_cycle_is_over_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, None) == {("Done", "Test"), ("Failed", "Deadline")}
