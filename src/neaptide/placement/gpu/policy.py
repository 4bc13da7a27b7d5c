"""What a GPU placement policy is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from neaptide.placement.gpu.state import GpuPods
from neaptide.placement.kernels.jit import Twins


def _knows_nothing(_history: GpuPods, _models: Mapping[str, int]) -> tuple[Any, ...]:
    return ()


class GpuPolicy(NamedTuple):
    """A node gets a score for a pod and the highest wins, the first node on ties; then the policy picks the devices.

    Attributes:
        name: as users write it, in any case.
        score: (rows, *state, request, out, *knowledge): writes the score of each row, 0 or more; all of them fit, and there is one.
        devices: (node, *state, request, draw, *knowledge) -> the devices that the pod gets, as bits.
        knowledge: (pods seen so far, devices of all nodes by model, in the order of models) -> arrays for both of these functions.
        aliases: other names.
        random: whether ties between nodes are broken at random, and `draw` is a random number in [0, 1) and not 0.
    """

    name: str
    score: Twins
    devices: Twins
    knowledge: Callable[[GpuPods, Mapping[str, int]], tuple[Any, ...]] = _knows_nothing
    aliases: tuple[str, ...] = ()
    random: bool = False
