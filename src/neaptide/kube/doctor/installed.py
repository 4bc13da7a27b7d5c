"""What of Neaptide is in the cluster, and whether it works."""

from collections.abc import Iterator

from neaptide.kube.doctor.finding import Finding, Seen
from neaptide.kubeapi.resources import PLANS, POLICIES, PRICE_CATALOGUES

_LEASE_SECONDS = 60.0
_HOOK = ".neaptide.io"


def definitions(seen: Seen) -> Iterator[Finding]:
    """Whether the kinds of the group neaptide.io are served."""
    missing = [each.kind for each in (POLICIES, PLANS, PRICE_CATALOGUES) if each not in seen.served]
    if missing:
        yield Finding(
            "note",
            "installed",
            f"the API server does not know {', '.join(missing)} of {POLICIES.group}",
            "helm install neaptide charts/neaptide -n neaptide-system --create-namespace",
        )


def controller(seen: Seen) -> Iterator[Finding]:
    """Whether some process leads."""
    if seen.leases is None:
        yield Finding("note", "installed", "leases may not be listed: whether a controller runs cannot be told")
        return
    leases = {key: lease for key, lease in seen.leases.items() if key.endswith("/neaptide")}
    if not leases and POLICIES in seen.served:
        yield Finding("warning", "installed", "no controller holds a lease: Policies have no effect", "neaptide run")
    for key, (holder, renewed) in leases.items():
        age = seen.now - renewed
        if not holder or age > _LEASE_SECONDS:
            said = "nobody holds it" if not holder else f"{holder} renewed it {age:.0f} s ago"
            yield Finding(
                "problem", "installed", f"lease {key}: {said}: no controller runs", "look at its pods and logs"
            )
        else:
            yield Finding("note", "installed", f"lease {key}: the controller {holder} leads")


def webhook(seen: Seen) -> Iterator[Finding]:
    """Whether pods were let in without our say."""
    for name, count in (seen.fail_open or {}).items():
        if name.endswith(_HOOK) and count:
            yield Finding(
                "problem",
                "admission",
                f"{count:.0f} pods were admitted without the webhook {name}, which did not answer in time or was not trusted",
                "look at the controller's pods, and at caBundle in its MutatingWebhookConfiguration",
            )
