"""Which pods must not be disrupted, by the annotations and conventions that the ecosystem has agreed on."""

import re
from collections.abc import Mapping

import numpy as np

from neaptide.model.actions import Reason
from neaptide.model.snapshot import ClusterSnapshot

DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
SYSTEM_CRITICAL = 2_000_000_000
"""Priorities from here on are system-cluster-critical and system-node-critical."""

_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def protection(snapshot: ClusterSnapshot, pod: int, now: float) -> Reason | None:
    """Why a pod must not be evicted now; None where it may be.

    A bare pod would not come back, so it is protected unless it says `safe-to-evict: "true"`; a DaemonSet's pod would
    come back to the same node.
    """
    annotations = snapshot.pod_annotations(pod)
    named = annotated_protection(annotations, float(snapshot.pods.started[pod]), now)
    if named is not None:
        return named
    if snapshot.pods.priority[pod] >= SYSTEM_CRITICAL:
        return Reason("SystemCritical", f"its priority is {snapshot.pods.priority[pod]}, that of system pods")
    owner = int(snapshot.pods.owner[pod])
    if owner < 0 and annotations.get(SAFE_TO_EVICT) != "true":
        return Reason("NotReplicated", "no controller would start it again")
    if owner >= 0 and snapshot.workloads.refs[owner].kind == "DaemonSet":
        return Reason("DaemonSet", "its DaemonSet would start it on the same node again")
    return None


def annotated_protection(annotations: Mapping[str, str], started: float, now: float) -> Reason | None:
    """Why a pod's annotations forbid its eviction; `started` is nan for a pod that has not started.

    `karpenter.sh/do-not-disrupt` is "true" or a Go duration counted from the pod's start; a duration that is malformed
    or not positive does not protect, as in Karpenter.
    """
    wish = annotations.get(DO_NOT_DISRUPT)
    if wish == "true":
        return Reason("DoNotDisrupt", f"{DO_NOT_DISRUPT}: true")
    if wish is not None:
        hold = go_duration(wish)
        if hold is not None and hold > 0 and (np.isnan(started) or now < started + hold):
            return Reason("DoNotDisrupt", f"{DO_NOT_DISRUPT}: {wish}, counted from its start")
    evictable = annotations.get(SAFE_TO_EVICT)
    if evictable in ("false", "on-completion"):
        return Reason("NotSafeToEvict", f"{SAFE_TO_EVICT}: {evictable}")
    return None


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as `1h30m`; None for what is none."""
    sign, body = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if body == "0":
        return 0.0
    parts = _DURATION_PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        return None
    return sign * sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
