from typing import Any

import pytest

from neaptide.model import objects as o
from neaptide.placement import warm
from neaptide.placement.cycle.actions import Bind
from neaptide.placement.cycle.devices import CORE, GPU, MEMORY_RATIO
from neaptide.placement.cycle.events import Cycle, Listed
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.placement.gpu.neap import NEAP
from neaptide.placement.kernels.jit import HAVE_NUMBA


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed: there is no machine code to compile")
@pytest.mark.parametrize(
    "asked", [{GPU: "2"}, {CORE: "50", MEMORY_RATIO: "50"}], ids=["whole devices", "a share of one"]
)
def test_the_first_pod_with_a_gpu_waits_for_no_compiler(asked: dict[str, str]) -> None:
    warm.scheduling()
    before = versions()
    assert before == 2
    machine = SchedulingCycle(CycleProfile(), protects=lambda *_: None)
    capacity = {"cpu": "8", "pods": "10", GPU: "4"}
    nodes = [o.Node(o.Metadata(name=name), status=o.NodeStatus(allocatable=capacity)) for name in "ab"]
    container = o.Container(name="main", resources=o.Resources(requests=asked))
    pod = o.Pod(o.Metadata(name="pod"), o.PodSpec(containers=(container,), scheduler_name="neaptide"))
    machine.step(Listed((*nodes, pod)), 0.0)
    assert any(isinstance(each, Bind) for each in machine.step(Cycle(), 0.0))
    assert versions() == before


def versions() -> int:
    kernels: tuple[Any, ...] = NEAP.score.kernel, NEAP.devices.kernel
    return len([each for kernel in kernels for each in kernel.signatures])
