"""Kernels in two versions of one signature: compiled by numba where it is installed, and in numpy everywhere."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

try:
    import numba
except ImportError:
    numba = None

HAVE_NUMBA = numba is not None

Function = TypeVar("Function", bound=Callable[..., Any])


class Twins(NamedTuple):
    """The same function twice; a property test holds that they agree."""

    kernel: Callable[..., Any]
    numpy: Callable[..., Any]

    def pick(self, *, compiled: bool) -> Callable[..., Any]:
        return self.kernel if compiled else self.numpy


def kernel(function: Function) -> Function:
    """Compile with numba and keep the machine code on disk; without numba the function stays plain Python."""
    if numba is None:
        return function
    try:
        return numba.njit(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no directory that a cache could be written to
        return numba.njit(function)  # type: ignore[no-any-return]
