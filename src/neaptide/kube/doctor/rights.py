"""What the commands need to be allowed, and whether the user is."""

from collections.abc import Iterator

from neaptide.kube.doctor.finding import Finding, Right, Seen, Severity
from neaptide.kube.streams import ALWAYS
from neaptide.kubeapi import resources as r

_PLANNING = "plan, explain, top"
_ACTING = "apply, run"

NEEDED = (
    *(Right(verb, resource, purpose=_PLANNING) for resource in ALWAYS for verb in ("list", "watch")),
    Right("create", r.PODS, "eviction", _ACTING),
    Right("patch", r.NODES, "", _ACTING),
    Right("patch", r.NODES, "status", _ACTING),
    Right("patch", r.DEPLOYMENTS, "", _ACTING),
    Right("patch", r.STATEFUL_SETS, "", _ACTING),
    Right("patch", r.JOBS, "", _ACTING),
    Right("create", r.LEASES, "", _ACTING),
    Right("create", r.CONFIG_MAPS, "", _ACTING),
    Right("create", r.EVENTS, "", _ACTING),
)


def rights(seen: Seen) -> Iterator[Finding]:
    """The rights that are missing, by what they are for."""
    severities: dict[str, Severity] = {_PLANNING: "warning", _ACTING: "note"}
    for purpose, severity in severities.items():
        missing = [str(right) for right, given in seen.rights.items() if right.purpose == purpose and not given]
        if missing:
            yield Finding(
                severity,
                "rights",
                f"{purpose}: not allowed: {', '.join(missing)}",
                "use another context, or bind the ClusterRole of the chart to this user",
            )
