"""Every policy, in order of precedence: of two that want the same object, the earlier one gets it."""

from neaptide.model.protocols import Policy

POLICIES: tuple[Policy, ...] = ()
