"""Carries actions out: each looked at again, tried again where that is safe, and ended by a deadline. One outcome for every one."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from itertools import groupby

import msgspec
from msgspec import Struct

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError
from neaptide.kube.acting.registry import METHODS, Method
from neaptide.kubeapi.errors import (
    ApiError,
    Conflict,
    ConnectionLost,
    DisruptionBudgetExceeded,
    LeaseLost,
    NotFound,
    RateLimited,
    ServerTimeout,
    Unavailable,
)
from neaptide.model.actions import AnyAction, Evict, Outcome, Reason
from neaptide.model.problems import FieldError

Watcher = Callable[[Outcome, Method], None]
_UNSURE = (ConnectionLost, ServerTimeout, Unavailable)
"""After these a write may have been done."""


class Patience(Struct, frozen=True, kw_only=True):
    """How long actions may take (seconds), and how many are under way at once.

    Attributes:
        each: for one action, all its tries together.
        all: for the actions of one cycle; those that have not begun by then fail.
        first_pause, longest_pause: between tries; each pause is drawn from 0 to its bound, which doubles.
    """

    each: float = 30.0
    all: float = 120.0
    first_pause: float = 0.2
    longest_pause: float = 5.0
    at_once: int = 16


class Actuator:
    """Carries out the actions of one cycle after the other.

    Args:
        api: the wire.
        may_act: whether this process may still act; asked before every try.
        watchers: are told each outcome as it comes.
    """

    def __init__(
        self,
        api: Api,
        *,
        may_act: Callable[[], bool] = lambda: True,
        watchers: Sequence[Watcher] = (),
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        self._api, self._may_act, self._watchers, self._patience = api, may_act, watchers, patience
        self._stopping = False
        self._random = random.Random()  # noqa: S311 - spreads tries in time

    def stop(self) -> None:
        """Begin no further action; those under way end as they end."""
        self._stopping = True

    async def carry_out(self, actions: Sequence[AnyAction]) -> list[Outcome]:
        """Do them in order; neighbours of one kind, which are about different objects, side by side."""
        due = time.monotonic() + self._patience.all + sum(map(_saving, actions)) / self._patience.at_once
        free = asyncio.Semaphore(self._patience.at_once)
        outcomes: list[Outcome] = []

        async def one(action: AnyAction) -> Outcome:
            async with free:
                outcome = await self._ended(action, due)
            for watcher in self._watchers:
                watcher(outcome, METHODS[type(action)])
            return outcome

        for _, alike in groupby(actions, type):
            outcomes += await asyncio.gather(*map(one, alike))
        return outcomes

    async def _ended(self, action: AnyAction, due: float) -> Outcome:
        """One action's outcome, whatever happens."""
        if self._stopping:
            return Outcome(action, "Refused", Reason("ShuttingDown", "this process is ending"))
        due = min(due, time.monotonic() + self._patience.each + _saving(action))
        try:
            async with asyncio.timeout(due - time.monotonic()):
                return await self._tried(action)
        except TimeoutError:
            return Outcome(action, "Failed", Reason("Deadline", "its time ran out; the next cycle looks again"))

    async def _tried(self, action: AnyAction) -> Outcome:
        """Try until it is done, refused, or has failed for good."""
        method, unsure, pause = METHODS[type(action)], False, self._patience.first_pause
        while True:
            if not self._may_act():
                return Outcome(action, "Refused", Reason("NotLeader", "this process does not hold the lease"))
            try:
                await method.carry_out(action, self._api)
            except AlreadyError as already:
                return Outcome(action, "Done", action.reason) if unsure else Outcome(action, "Refused", already.reason)
            except RefusedError as refused:
                return Outcome(action, "Refused", refused.reason)
            except ApiError as error:
                ended = _end(action, method, error)
                if ended is not None:
                    return ended
                unsure = unsure or isinstance(error, _UNSURE)
                await asyncio.sleep(max(error.retry_after or 0.0, self._random.uniform(0, pause)))
                pause = min(2 * pause, self._patience.longest_pause)
            except (msgspec.MsgspecError, FieldError) as error:
                return Outcome(action, "Failed", Reason("NotAccepted", f"{action.target} cannot be read: {error}"))
            else:
                return Outcome(action, "Done", action.reason)


def _saving(action: AnyAction) -> float:
    """Seconds that an action has besides, for a pod to save its work."""
    checkpoint = action.checkpoint if isinstance(action, Evict) else None
    return 0.0 if checkpoint is None else checkpoint.seconds


def _end(action: AnyAction, method: Method, error: ApiError) -> Outcome | None:
    """What an error of the API means for an action; None where it is to be tried again."""
    match error:
        case NotFound():
            result = "Done" if method.gone_is_done else "Refused"
            return Outcome(action, result, Reason("NotFound", f"{action.target} is no longer there"))
        case DisruptionBudgetExceeded():
            return Outcome(action, "Refused", Reason("DisruptionBudget", error.message))
        case LeaseLost():
            return Outcome(action, "Refused", Reason("NotLeader", error.message))
        case Conflict() | RateLimited() | ConnectionLost() | ServerTimeout() | Unavailable():
            return None
        case _:
            return Outcome(action, "Failed", Reason(error.reason, str(error)))
