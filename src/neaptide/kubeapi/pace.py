"""How fast: a token bucket for requests, and growing pauses with jitter for what failed."""

import asyncio
import random
from collections.abc import Callable


class TokenBucket:
    """Lets `burst` requests through at once and `rate` a second after that, in the order in which they came."""

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a rate above 0 and a burst of 1 or more are accepted, not {rate} and {burst}")
        self._rate, self._burst = rate, burst
        self._empty_at = -float("inf")
        """Loop time at which the bucket was or will be empty: one number says how full it is."""

    async def take(self) -> None:
        """Wait for one's turn."""
        now = asyncio.get_running_loop().time()
        self._empty_at = max(self._empty_at, now - self._burst / self._rate) + 1 / self._rate
        if (wait := self._empty_at - now) > 0:
            await asyncio.sleep(wait)


class Backoff:
    """Pauses that double from `first` to `longest` seconds, each drawn between its half and its whole."""

    def __init__(self, first: float, longest: float, *, draw: Callable[[], float] = random.random) -> None:
        self._first, self._longest, self._draw = first, longest, draw
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self) -> float:
        """Seconds to pause now."""
        whole = min(self._first * 2.0**self._failures, self._longest)
        self._failures = min(self._failures + 1, 60)
        return whole * (1 + self._draw()) / 2
