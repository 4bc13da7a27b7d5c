"""Every policy, in order of precedence: of two that want the same object, the earlier one gets it."""

from neaptide.model.protocols import Policy
from neaptide.policies.reclaim import Reclaim

POLICIES: tuple[Policy, ...] = (Reclaim(),)
