"""Random numbers as Go's math/rand draws them, so that a seed means here what it means in published experiments written in Go.

The generator is the additive lagged Fibonacci one with lags 607 and 273 on 64-bit words. Seeding mixes a linear congruential sequence
with the generator's own state after 7.8e12 steps (Go keeps it as a table); it is computed here by jumping ahead: a state so many
steps later is a sum of words of the first, with the coefficients of x^steps modulo x^607 - x^334 - 1.
"""

from collections.abc import Iterator, MutableSequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_LONG, _SHORT = 607, 273
_FIRST = _LONG - _SHORT - 1  # where Go's table of words begins, running downwards
_STEPS = 7_800_000_000_000
_MODULUS = 2**31 - 1


class GoRandom:
    """The draws of `rand.New(rand.NewSource(seed))`, in the same order."""

    def __init__(self, seed: int) -> None:
        self._words = _words(_seeded(seed % _MODULUS or 89482311, (40, 20, 0)) ^ _mixed_in())

    def int63(self) -> int:
        """A number below 2^63 (`rand.Int`)."""
        return next(self._words) & (2**63 - 1)

    def below(self, bound: int) -> int:
        """A number below `bound`, which is at most 2^31 - 1 (`rand.Intn`)."""
        if bound & (bound - 1) == 0:
            return (self.int63() >> 32) & (bound - 1)
        highest = 2**31 - 1 - 2**31 % bound
        while (number := self.int63() >> 32) > highest:
            pass
        return number % bound

    def permutation(self, size: int) -> list[int]:
        """The numbers below `size` in random order (`rand.Perm`)."""
        order = [0] * size
        for number in range(size):
            place = self.below(number + 1)
            order[number] = order[place]
            order[place] = number
        return order

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Shuffle in place (`rand.Shuffle`, which draws by multiplication instead of by remainder)."""
        for last in range(len(items) - 1, 0, -1):
            bound = last + 1
            product = (self.int63() >> 31) * bound
            if product % 2**32 < bound:
                while product % 2**32 < 2**32 % bound:
                    product = (self.int63() >> 31) * bound
            place = product >> 32
            items[last], items[place] = items[place], items[last]


def _seeded(number: int, shifts: tuple[int, ...]) -> Words:
    """A state from a seed, oldest word first: each word of 607 is made of three numbers of a linear congruential sequence."""
    for _ in range(20):
        number = number * 48271 % _MODULUS
    words = []
    for _ in range(_LONG):
        word = 0
        for shift in shifts:
            number = number * 48271 % _MODULUS
            word ^= number << shift
        words.append(word % 2**64)
    return np.array(words, dtype=np.uint64)[_in_time()]


def _in_time() -> NDArray[np.int64]:
    """The places in Go's table from the oldest word to the newest."""
    return (_FIRST - np.arange(_LONG)) % _LONG


def _words(state: Words) -> Iterator[int]:
    """The words that follow a state of 607, oldest first."""
    while True:
        new = state[:_SHORT] + state[-_SHORT:]
        yield from new.tolist()
        state = np.concatenate([state[_SHORT:], new])


@cache
def _mixed_in() -> Words:
    """What Go's table `rngCooked` holds, oldest word first."""
    state = _seeded(1, (20, 10, 0))
    power = _power_of_x(_STEPS)
    words = _words(state)
    ahead = np.concatenate([state, np.array([next(words) for _ in range(_LONG)], dtype=np.uint64)])
    later = np.array([(power * ahead[at : at + _LONG]).sum() for at in range(_LONG)], dtype=np.uint64)
    table = np.empty_like(later)
    table[(_FIRST - _STEPS - np.arange(_LONG)) % _LONG] = later  # the table is a ring, and so many steps have turned it
    return table[_in_time()]


def _power_of_x(exponent: int) -> Words:
    """Coefficients, modulo 2^64, of x^exponent modulo x^607 - x^334 - 1."""
    power = np.zeros(_LONG, dtype=np.uint64)
    power[0] = 1
    for bit in f"{exponent:b}":
        power = _reduced(np.convolve(power, power))
        if bit == "1":
            power = _reduced(np.concatenate([np.zeros(1, np.uint64), power]))
    return power


def _reduced(polynomial: Words) -> Words:
    low = polynomial.copy()
    while low.size > _LONG:
        high = low[max(_LONG, low.size - _SHORT) :]
        low = low[: low.size - high.size]
        low[low.size - _LONG : low.size - _LONG + high.size] += high
        low[low.size - _SHORT : low.size - _SHORT + high.size] += high
    return low
