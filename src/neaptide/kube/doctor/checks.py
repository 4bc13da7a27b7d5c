"""Every check, in the order in which a user reads what they find."""

from collections.abc import Callable, Iterable

from neaptide.kube.doctor import consolidators, installed, nodes, others, rights, workloads
from neaptide.kube.doctor.finding import Finding, Seen

CHECKS: tuple[Callable[[Seen], Iterable[Finding]], ...] = (
    installed.definitions,
    installed.controller,
    installed.webhook,
    rights.rights,
    nodes.unseen,
    others.others,
    others.schedulers,
    others.webhooks,
    consolidators.two_consolidators,
    workloads.priorities,
    workloads.budgets,
    workloads.bare,
    nodes.readiness,
    nodes.usage,
    nodes.prices,
)
_ORDER = ("problem", "warning", "note")


def examine(seen: Seen) -> list[Finding]:
    """What all checks find, problems first."""
    found = [finding for check in CHECKS for finding in check(seen)]
    return sorted(found, key=lambda each: _ORDER.index(each.severity))
