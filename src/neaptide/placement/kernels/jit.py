"""Kernels in two versions of one signature: compiled by numba where it is installed, and in numpy everywhere.

Compiled code is kept on disk, so that only the first start after an installation pays for it: beside the source, or where
that cannot be written under the user's cache directory; `NUMBA_CACHE_DIR` names another place (a read-only root file
system wants one). Where nothing can be written, every start compiles anew. Kernels are functions of a module, for
numba keeps no closures.
"""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar

HAVE_NUMBA = find_spec("numba") is not None and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
"""Whether kernels are compiled; where they are not, everything works and large batches take longer."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Twins(NamedTuple):
    """The same function twice; a property test holds that they agree."""

    kernel: Callable[..., Any]
    numpy: Callable[..., Any]

    def pick(self, *, compiled: bool) -> Callable[..., Any]:
        """One of the two."""
        return self.kernel if compiled else self.numpy


def kernel(function: Function) -> Function:
    """Compile a function that other code calls; it lets other threads run meanwhile."""
    return _compiled(function, cache=True, nogil=True)


def lean_kernel(function: Function) -> Function:
    """As `kernel`, for one that makes no arrays: references are not counted, which makes tight loops three times faster."""
    return _compiled(function, cache=True, nogil=True, error_model="numpy", _nrt=False)


def lean_part(function: Function) -> Function:
    """A part of lean kernels, compiled into each of them."""
    return _compiled(function, error_model="numpy", _nrt=False, forceinline=True)


def _compiled(function: Function, **options: Any) -> Function:  # noqa: ANN401 - numba's own options
    if not HAVE_NUMBA:
        return function
    njit: Any = import_module("numba").njit
    try:
        compiled: Function = njit(**options)(function)
    except RuntimeError:  # no directory that machine code could be kept in
        compiled = njit(**(options | {"cache": False}))(function)
    return compiled
