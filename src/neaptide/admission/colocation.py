"""The rule `colocation`: ClusterColocationProfiles make offline work of the pods that they match.

A profile says it for the cluster's administrator, so it sets what it names, whatever the pod says, as Koordinator's webhook does. Then pods of band
batch or mid (or free, where the second tier is theirs) ask for reclaimed resources in place of cpu and memory. Last, what contradicts itself
is refused, for explicit labels only, with a sentence.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from neaptide.admission.draft import COMPUTED, Draft
from neaptide.admission.protocols import Namespace, RefusedError
from neaptide.admission.reclaimed import ask_for_reclaimed, emptydirs_elsewhere
from neaptide.admission.strategic_merge import merged
from neaptide.model.colocation_profile import EPHEMERAL, EPHEMERAL_SIZE, ClusterColocationProfile
from neaptide.model.objects import PodSpec
from neaptide.model.problems import FieldError
from neaptide.model.qos import PRIORITY_CLASS_LABEL, QOS_LABEL, Band, QoS, explicit_band, explicit_qos
from neaptide.model.requests import effective_requests
from neaptide.model.selectors import labels_match

PRIORITY_LABEL = "koordinator.sh/priority"
DRAW = "neaptide.io/colocation-draw"
"""The annotation of a pod that says which of a hundred it is, for profiles that are meant for some only."""
_FORBIDDEN = {QoS.BE: (None, Band.PROD), QoS.LSR: (None, Band.MID, Band.BATCH, Band.FREE)}


class ColocationSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is done with pods beside what profiles say.

    Attributes:
        refuse: whether pods that contradict themselves are refused; else they are let in with a warning.
        free_runs_in_ot: whether pods of band free ask for the second tier of reclaimed resources.
    """

    refuse: bool = True
    free_runs_in_ot: bool = False


class Known(Struct, frozen=True):
    """What of the cluster the rule is told.

    Attributes:
        profiles: in the order of their names.
        priorities: the value of each PriorityClass.
    """

    profiles: tuple[ClusterColocationProfile, ...] = ()
    priorities: Mapping[str, int] = {}


class Colocation:
    """The rule."""

    name = "colocation"
    spec_type = ColocationSpec

    def admit(self, draft: Draft, namespace: Namespace, spec: ColocationSpec) -> None:
        """Apply the profiles once, ask for reclaimed resources, refuse contradictions. Raises RefusedError."""
        known: Known = namespace.known.get(self.name) or Known()
        if draft.once(self.name):  # what one profile adds must not bring the pod under another
            _profiles(draft, namespace, known)
        band = _band(draft, known)
        if band is not None:
            ask_for_reclaimed(draft, band, free_runs_in_ot=spec.free_runs_in_ot)
        for sentence in contradictions(draft, band):
            if spec.refuse:
                raise RefusedError(sentence)
            draft.warn(sentence)

    def mutations(self, spec: ColocationSpec) -> Sequence[str]:
        """None: profiles are objects that the API server's own policies do not read."""
        del spec
        return ()


def contradictions(draft: Draft, band: Band | None) -> list[str]:
    """What of a pod's explicit labels cannot be, as sentences. `band` is the explicit one."""
    qos, found = explicit_qos(draft.labels), []
    named = draft.labels.get(QOS_LABEL, "")
    if qos is not None and band in _FORBIDDEN.get(qos, ()):
        what = "no priority class of Koordinator's" if band is None else f"the band {band.name.lower()}"
        found.append(
            f"a pod labelled {QOS_LABEL}={named} cannot have {what}: give it another class, or another priority class"
        )
    if qos in (QoS.LSE, QoS.LSR):
        asked = _milli_requested(draft)
        if asked == 0 or asked % 1000:
            found.append(
                f"a pod labelled {QOS_LABEL}={named} has CPUs of its own, so it must request whole ones, and requests {f'{asked}m' if asked else 'none'}"
            )
    containers = [*(draft.get(("spec", "containers")) or ()), *(draft.get(("spec", "initContainers")) or ())]
    for each in containers:
        requests = (each.get("resources") or {}).get("requests") or {}
        if qos is not None and qos is not QoS.BE and any(key.startswith("kubernetes.io/batch-") for key in requests):
            found.append(
                f"the container {each.get('name')} requests batch resources, which are for pods labelled {QOS_LABEL}=BE; this one is {named}"
            )
    return found


def _profiles(draft: Draft, namespace: Namespace, known: Known) -> None:
    """Apply the profiles that match the pod as it came, in the order of their names."""
    for profile in [each for each in known.profiles if _matches(each, draft, namespace)]:
        if profile.spec.percent < 100:
            drawn = _draw(draft, namespace)
            draft.annotate(DRAW, str(drawn))
            if drawn >= profile.spec.percent:
                continue
        _apply(draft, profile, known)


def _matches(profile: ClusterColocationProfile, draft: Draft, namespace: Namespace) -> bool:
    spec = profile.spec
    if spec.namespace_selector is not None and not labels_match(spec.namespace_selector, namespace.labels):
        return False
    return spec.selector is None or labels_match(spec.selector, draft.labels)


def _draw(draft: Draft, namespace: Namespace) -> int:
    """0 to 99: as drawn before, else from what tells this pod from others; the pods of one owner have no names yet."""
    before = draft.annotations.get(DRAW, "")
    if before.isdecimal() and int(before) < 100:
        return int(before)
    name = draft.get(("metadata", "name")) or namespace.request
    return crc32(f"{namespace.name}/{name}".encode()) % 100


def _apply(draft: Draft, profile: ClusterColocationProfile, known: Known) -> None:
    spec = profile.spec
    for field, entries in (("labels", spec.labels), ("annotations", spec.annotations)):
        for key, text in entries.items():
            draft.set_entry(field, key, text)
    for old, new in spec.label_keys_mapping.items():
        if old in draft.labels:
            draft.set_entry("labels", new, draft.labels[old])
    for old, new in spec.annotation_keys_mapping.items():
        if old in draft.annotations:
            draft.set_entry("annotations", new, draft.annotations[old])
    if spec.scheduler_name:
        draft.change(("spec", "schedulerName"), spec.scheduler_name)
    if spec.qos_class:
        draft.set_entry("labels", QOS_LABEL, spec.qos_class)
    if spec.priority_class_name:
        if spec.priority_class_name in known.priorities:
            draft.take_priority_class(spec.priority_class_name)
        else:
            draft.warn(
                f"the profile {profile.metadata.name} gives the priority class {spec.priority_class_name}, which does not exist: it was left out"
            )
    if spec.koordinator_priority is not None:
        draft.set_entry("labels", PRIORITY_LABEL, str(spec.koordinator_priority))
    if spec.patch:
        _patch(draft, spec.patch)
    storage = profile.metadata.annotations.get(EPHEMERAL)
    if storage and explicit_qos(draft.labels) is QoS.BE:
        emptydirs_elsewhere(draft, storage, profile.metadata.annotations.get(EPHEMERAL_SIZE, ""))


def _patch(draft: Draft, patch: Mapping[str, Any]) -> None:
    """Merge a profile's patch into the pod; of another priority class, the API server computes the priority anew."""
    after, before = merged(draft.pod, patch), draft.get(("spec", "priorityClassName"))
    draft.become(after)
    if draft.get(("spec", "priorityClassName")) != before:
        for computed in COMPUTED:
            draft.change(("spec", computed), None)


def _band(draft: Draft, known: Known) -> Band | None:
    """The band that the pod's label or priority class names; the priority itself where neither does."""
    name = draft.get(("spec", "priorityClassName")) or ""
    priority = known.priorities.get(name, draft.get(("spec", "priority")) or 0)
    return explicit_band({PRIORITY_CLASS_LABEL: name, **draft.labels}, priority)


def _milli_requested(draft: Draft) -> int:
    """CPU that a pod requests as the scheduler counts it; 0 for what nobody can read, which the API server refuses."""
    try:
        return effective_requests(msgspec.convert(draft.get(("spec",)), PodSpec)).get("cpu", 0)
    except (msgspec.ValidationError, FieldError):
        return 0
