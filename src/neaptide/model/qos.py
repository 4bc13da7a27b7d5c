"""QoS classes and priority bands, by Koordinator's names and ranges.

Source: koordinator apis/extension/{qos,priority}.go. The defaults for unlabelled pods serve accounting and the order of
evictions; refusals and CPU sets come from an explicit label only.
"""

from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache

QOS_LABEL = "koordinator.sh/qosClass"
PRIORITY_CLASS_LABEL = "koordinator.sh/priority-class"


class QoS(IntEnum):
    """From the strictest service to the work that gives way first; SYSTEM stands beside the order."""

    SYSTEM = 0
    LSE = 1
    LSR = 2
    LS = 3
    BE = 4


class Band(IntEnum):
    """Priority bands; a larger value is more important, and order is by band first."""

    FREE = 0
    BATCH = 1
    MID = 2
    PROD = 3


_ALIASES = {"LSX": QoS.LSE, "LSE": QoS.LSE, "LSR": QoS.LSR, "LS": QoS.LS, "BE": QoS.BE, "SYSTEM": QoS.SYSTEM}
_BY_KUBERNETES = {"Guaranteed": QoS.LSR, "Burstable": QoS.LS, "BestEffort": QoS.BE}
_BANDS = {"koord-prod": Band.PROD, "koord-mid": Band.MID, "koord-batch": Band.BATCH, "koord-free": Band.FREE}
_RANGES = ((9000, 9999, Band.PROD), (7000, 7999, Band.MID), (5000, 5999, Band.BATCH), (3000, 3999, Band.FREE))


def explicit_qos(labels: Mapping[str, str]) -> QoS | None:
    """The class that a pod's label names; `LSX` means LSE; an unknown name counts as none."""
    return _ALIASES.get(labels.get(QOS_LABEL, ""))


def qos_of(labels: Mapping[str, str], kubernetes_class: str) -> QoS:
    """A pod's class: its label, else Guaranteed is LSR, Burstable LS, BestEffort BE."""
    named = explicit_qos(labels)
    return _BY_KUBERNETES[kubernetes_class] if named is None else named


def explicit_band(labels: Mapping[str, str], priority: int) -> Band | None:
    """The band that a pod's label names, else that in whose range its priority is, if there is one."""
    named = _BANDS.get(labels.get(PRIORITY_CLASS_LABEL, ""))
    return _in_range(priority) if named is None else named


def band_of(labels: Mapping[str, str], priority: int) -> Band:
    """A pod's band: its label, else the range of its priority, else prod."""
    named = explicit_band(labels, priority)
    return Band.PROD if named is None else named


@lru_cache(maxsize=1 << 12)
def _in_range(priority: int) -> Band | None:
    return next((band for low, high, band in _RANGES if low <= priority <= high), None)
