"""Compiles what is compiled at its first use, or loads what was compiled before, so that nobody waits for it in the midst of work.

Everything here does nothing without numba. `python -m neaptide.placement.warm` compiles all of it.
"""

import numpy as np

from neaptide.model import objects
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.devices import GPU
from neaptide.placement.cycle.events import Cycle, Listed
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.placement.engine import Engine
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.placement.profile import DEFAULT
from neaptide.placement.view import View

_DEFAULT_CYCLE = CycleProfile()


def warm() -> None:
    """All kernels of placement but those of the GPU policies that are not the default."""
    scheduling()
    consolidation()


def scheduling(profile: CycleProfile = _DEFAULT_CYCLE) -> None:
    """What a scheduler with a profile calls: the engine, and what its plugins have compiled."""
    if not HAVE_NUMBA:
        return
    engine()
    amounts = {"pods": "1", GPU: "1"}
    node = objects.Node(objects.Metadata(name="node"), status=objects.NodeStatus(allocatable=amounts))
    container = objects.Container(name="main", resources=objects.Resources(requests={GPU: "1"}))
    spec = objects.PodSpec(containers=(container,), scheduler_name=profile.scheduler_name)
    machine = SchedulingCycle(profile, protects=lambda *_: None)
    machine.step(Listed((node, objects.Pod(objects.Metadata(name="pod"), spec))), 0.0)
    machine.step(Cycle(), 0.0)


def engine() -> None:
    """The engine that places batches."""
    if HAVE_NUMBA:
        snapshot = ClusterSnapshot()
        snapshot.set(objects.Node(objects.Metadata(name="node"), status=objects.NodeStatus(allocatable={"pods": "1"})))
        snapshot.set(objects.Pod(objects.Metadata(name="pod")))
        Engine(View(snapshot), DEFAULT, compiled=True).place(np.zeros(1, dtype=np.int64))


def consolidation() -> None:
    """The search for a cheaper set of nodes."""
    if not HAVE_NUMBA:
        return
    from neaptide.placement.packing.problem import Problem  # noqa: PLC0415 - schedulers do without it
    from neaptide.placement.packing.relaxation import relaxed  # noqa: PLC0415 - scipy takes a second to import
    from neaptide.placement.packing.search import search  # noqa: PLC0415 - schedulers do without it

    two = np.ones((2, 1))
    small = Problem(
        request=two[:1],
        fits=np.ones((1, 2), dtype=np.bool_),
        room=two,
        price=np.array([2.0, 1.0]),
        held=np.ones((1, 1), dtype=np.int64),
        may_go=np.ones(1, dtype=np.bool_),
    )
    prices = relaxed(small, evictions=1)
    if prices is not None:
        search(small, prices, evictions=1, steps=1)


if __name__ == "__main__":
    warm()
