"""Kernels in two versions of one signature: compiled by numba where it is installed, and in numpy everywhere."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar

HAVE_NUMBA = find_spec("numba") is not None

Function = TypeVar("Function", bound=Callable[..., Any])


class Twins(NamedTuple):
    """The same function twice; a property test holds that they agree."""

    kernel: Callable[..., Any]
    numpy: Callable[..., Any]

    def pick(self, *, compiled: bool) -> Callable[..., Any]:
        """One of the two."""
        return self.kernel if compiled else self.numpy


def kernel(function: Function) -> Function:
    """Compile with numba and keep the machine code on disk; without numba the function stays plain Python."""
    if not HAVE_NUMBA:
        return function
    njit: Any = import_module("numba").njit
    try:
        compiled: Function = njit(cache=True)(function)
    except RuntimeError:  # there is no directory that a cache could be written to
        compiled = njit(function)
    return compiled
