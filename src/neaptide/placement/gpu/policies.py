"""The GPU placement policies, by name."""

from neaptide.placement.gpu.best_fit import BEST_FIT
from neaptide.placement.gpu.dot_product import DOT_PRODUCT
from neaptide.placement.gpu.fgd import FGD
from neaptide.placement.gpu.gpu_clustering import GPU_CLUSTERING
from neaptide.placement.gpu.gpu_packing import GPU_PACKING
from neaptide.placement.gpu.neap import NEAP
from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.random_fit import RANDOM

GPU_POLICIES: list[GpuPolicy] = [FGD, BEST_FIT, DOT_PRODUCT, GPU_PACKING, GPU_CLUSTERING, RANDOM, NEAP]


def gpu_policy(name: str) -> GpuPolicy:
    """The policy of this name or alias, in any case.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    for policy in GPU_POLICIES:
        if name.casefold() in {other.casefold() for other in (policy.name, *policy.aliases)}:
            return policy
    accepted = ", ".join(policy.name for policy in GPU_POLICIES)
    raise ValueError(f"policy {name!r} is not known; accepted: {accepted}")
