"""Many values of a strategy at once, for tests too large for hypothesis to draw in one piece."""

from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def samples(strategy: SearchStrategy[T], number: int, *, of_seed: int = 0) -> list[T]:
    """At most so many values, the same for the same seed; fewer where the strategy has no more."""
    found: list[T] = []

    @seed(of_seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found
