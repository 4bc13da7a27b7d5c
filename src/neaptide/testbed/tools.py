"""Programs of others that tests want beside the control plane, where they are found or how they are made."""

import shutil
from collections.abc import Callable
from pathlib import Path

from neaptide.testbed.build import DESCHEDULER, HELM, KARPENTER, ensure_built
from neaptide.testbed.errors import TestbedError


def helm(report: Callable[[float], None] = lambda _: None) -> Path:
    """Helm 4, built from its Go module where it is not in the cache (3 minutes on one core).

    Args:
        report: is told the part of the build that is done, 0 to 1, if there is something to build.

    Raises:
        TestbedError: it cannot be built.
    """
    return ensure_built(report, HELM) / HELM.binary


def karpenter(report: Callable[[float], None] = lambda _: None) -> Path:
    """The folder with Karpenter (`karpenter`, with its kwok provider), `pkg/apis/crds`, `kwok/apis/crds` and `kwok/examples`.

    Built from its Go module where it is not in the cache (5 minutes on two cores).

    Args:
        report: is told the part of the build that is done, 0 to 1, if there is something to build.

    Raises:
        TestbedError: it cannot be built.
    """
    return ensure_built(report, KARPENTER)


def descheduler(report: Callable[[float], None] = lambda _: None) -> Path:
    """The descheduler v0.36, built from its Go module where it is not in the cache (2 to 5 minutes on one core).

    Args:
        report: is told the part of the build that is done, 0 to 1, if there is something to build.

    Raises:
        TestbedError: it cannot be built.
    """
    return ensure_built(report, DESCHEDULER) / DESCHEDULER.binary


def prometheus() -> Path:
    """Prometheus, which Debian packages.

    Raises:
        TestbedError: it is not installed.
    """
    return _installed("prometheus")


def promtool() -> Path:
    """Prometheus's checker of rules, of the same package.

    Raises:
        TestbedError: it is not installed.
    """
    return _installed("promtool")


def _installed(program: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise TestbedError(f"{program} is not installed; Debian has it in the package prometheus (make system-deps)")
    return Path(found)
