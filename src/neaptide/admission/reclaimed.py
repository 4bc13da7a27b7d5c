"""Requests of offline pods turned into reclaimed resources, and their scratch space moved to other disks.

Source: Koordinator's pod webhook. cpu becomes milli-cores, memory keeps its amount, in requests, limits, init containers and overhead; where one of
request and limit is missing it is the other, for an extended resource has both alike.
"""

from collections.abc import Sequence
from typing import Any

from neaptide.admission.draft import Draft
from neaptide.model.qos import Band
from neaptide.model.quantity import QuantityError, milli, value

_NAMES = {
    Band.BATCH: {"cpu": "kubernetes.io/batch-cpu", "memory": "kubernetes.io/batch-memory"},
    Band.MID: {"cpu": "kubernetes.io/mid-cpu", "memory": "kubernetes.io/mid-memory"},
}
_OT = {"cpu": "neaptide.io/ot-cpu", "memory": "neaptide.io/ot-memory"}
_DEFAULT_SIZE = "10Gi"


def ask_for_reclaimed(draft: Draft, band: Band, *, free_runs_in_ot: bool) -> None:
    """Have a pod of band mid or batch (free, where the second tier is its) ask for that band's resources in place of cpu and memory."""
    names = _OT if band is Band.FREE and free_runs_in_ot else _NAMES.get(band)
    if names is None:
        return
    for kind in ("initContainers", "containers"):
        for number in range(len(draft.get(("spec", kind)) or ())):
            _container(draft, (kind, number), names, exact=names is _OT)
    overhead = draft.get(("spec", "overhead"))
    if overhead:
        _moved(draft, ("spec", "overhead"), overhead, names)


def emptydirs_elsewhere(draft: Draft, storage_class: str, size: str) -> None:
    """Give a pod generic ephemeral volumes of a StorageClass in place of its emptyDir volumes; those in memory stay."""
    for number, volume in enumerate(draft.get(("spec", "volumes")) or ()):
        empty = volume.get("emptyDir")
        if empty is None or empty.get("medium"):
            continue
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": empty.get("sizeLimit") or size or _DEFAULT_SIZE}},
        }
        draft.change(("spec", "volumes", str(number), "emptyDir"), None)
        draft.change(("spec", "volumes", str(number), "ephemeral"), {"volumeClaimTemplate": {"spec": claim}})


def _container(draft: Draft, at: tuple[str, int], names: dict[str, str], *, exact: bool) -> None:
    path = ("spec", at[0], str(at[1]), "resources")
    resources = draft.at(path) or {}
    before = {part: dict(resources.get(part) or {}) for part in ("requests", "limits")}
    after = {part: _renamed(amounts, names) for part, amounts in before.items()}
    requests, limits = after["requests"], after["limits"]
    for name in names.values():
        if name in requests and (exact or name not in limits):
            limits[name] = requests[name]
        elif name in limits:
            requests.setdefault(name, limits[name])
    if after == before:
        return
    kept = {key: each for key, each in resources.items() if key not in after}
    draft.change(path, kept | {part: amounts for part, amounts in after.items() if amounts})


def _moved(draft: Draft, path: Sequence[str], amounts: dict[str, Any], names: dict[str, str]) -> None:
    renamed = _renamed(amounts, names)
    if renamed != amounts:
        draft.change(path, renamed)


def _renamed(amounts: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Amounts by other names; what cannot be read stays, and the API server says what is wrong with it."""
    found = dict(amounts)
    for resource, name in names.items():
        if resource not in found:
            continue
        try:
            amount = milli(str(found[resource])) if resource == "cpu" else value(str(found[resource]))
        except QuantityError:
            continue
        del found[resource]
        found[name] = str(amount)
    return found
