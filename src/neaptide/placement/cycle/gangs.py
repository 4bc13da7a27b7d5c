"""Gangs: pods that are of use only together, and who belongs to them.

A gang is named by the label `pod-group.scheduling.sigs.k8s.io` (of a PodGroup, scheduler-plugins' or Koordinator's) or by
Koordinator's annotation `gang.scheduling.koordinator.sh/name` on its pods, which then carry the gang's terms too.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, SUCCEEDED
from neaptide.model.scheduling_objects import PodGroup
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import go_duration
from neaptide.placement.cycle.actions import SetPodGroup

POD_GROUP_LABEL = "pod-group.scheduling.sigs.k8s.io"
GANG = "gang.scheduling.koordinator.sh/"
WAIT_SECONDS = 600.0
MODES = ("Strict", "NonStrict")
POLICIES = ("once-satisfied", "waiting-and-running", "only-waiting")


class Terms(NamedTuple):
    """What a gang asks for.

    Attributes:
        minimum: how many of its pods must have a node together.
        wait_seconds: how long a pod of a non-strict gang keeps its node while others have none.
        strict: give everything back at once when the minimum cannot be had.
        policy: which pods count: `once-satisfied` asks only until the minimum was had once, `waiting-and-running` counts
            those on nodes, `only-waiting` does not.
        together: the gangs (`namespace/name`) that go with it, itself among them.
    """

    minimum: int
    wait_seconds: float = WAIT_SECONDS
    strict: bool = True
    policy: str = "once-satisfied"
    together: tuple[str, ...] = ()


class Malformed(NamedTuple):
    """Why a gang's terms cannot be read."""

    message: str


class Gangs:
    """The gangs of a snapshot and the pods of each, kept up with `saw` and `gone`."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self._names: dict[tuple[int, int], str | None] = {}
        self._members: dict[str, dict[str, None]] = {}
        self._gang_of: dict[str, str] = {}
        self._satisfied: set[str] = set()
        self._said: dict[str, SetPodGroup] = {}

    def take_over(self, before: "Gangs") -> None:
        """Go on where others have ended."""
        self._gang_of, self._members = before._gang_of, before._members
        self._satisfied, self._said = before._satisfied, before._said

    def gang_of(self, pod: int) -> str | None:
        """The gang (`namespace/name`) that a pod (row) belongs to; None for none."""
        pods = self._snapshot.pods
        place = int(pods.cls[pod]), int(pods.annotations[pod])
        if place not in self._names:
            labels, annotations = self._snapshot.pod_labels(pod), self._snapshot.pod_annotations(pod)
            name = labels.get(POD_GROUP_LABEL) or annotations.get(GANG + "name")
            self._names[place] = f"{self._snapshot.pod_namespace(pod)}/{name}" if name else None
        return self._names[place]

    def saw(self, key: str) -> str | None:
        """A pod (`namespace/name`) was added or changed; the gang that got a new member by that."""
        row = self._snapshot.pods.by_key.get(key)
        gang = None if row is None else self.gang_of(row)
        if gang == self._gang_of.get(key):
            return None
        self.gone(key)
        if gang is not None:
            self._gang_of[key] = gang
            self._members.setdefault(gang, {})[key] = None
        return gang

    def gone(self, key: str) -> None:
        """A pod is gone."""
        gang = self._gang_of.pop(key, None)
        if gang is not None:
            del self._members[gang][key]
            if not self._members[gang]:
                del self._members[gang]
                self._satisfied.discard(gang)

    def members(self, gang: str) -> Iterator[int]:
        """The rows of a gang's pods that have not finished."""
        pods = self._snapshot.pods
        for key in self._members.get(gang, ()):
            row = pods.by_key[key]
            if pods.phase[row] != FAILED and np.isnan(pods.deleted[row]):
                yield row

    def terms(self, gang: str) -> Terms | Malformed:
        """What a gang asks for."""
        rows = list(self.members(gang))
        group: PodGroup | None = self._snapshot.others.get("PodGroup", {}).get(gang)
        if group is not None:
            wait = group.spec.schedule_timeout_seconds
            return _terms(gang, group.metadata.annotations, str(group.spec.min_member), wait)
        of_pods = [self._snapshot.pod_annotations(row) for row in rows]
        named = [each for each in of_pods if each.get(GANG + "name")]
        if not named:
            return Malformed(f"PodGroup {gang} not found")
        minimums = sorted({each.get(GANG + "min-available", "") for each in named})
        if len(minimums) > 1:
            said = ", ".join(each or "none" for each in minimums)
            return Malformed(f"the pods of gang {gang} differ in {GANG}min-available: {said}")
        return _terms(gang, named[0], minimums[0], None)

    def is_satisfied(self, gang: str, terms: Terms) -> bool:
        """Whether a gang asks for nothing any more, for it has had its minimum once."""
        if terms.policy != "once-satisfied":
            return False
        if gang not in self._satisfied and self.on_nodes(gang, set()) >= terms.minimum:
            self._satisfied.add(gang)
        return gang in self._satisfied

    def on_nodes(self, gang: str, waiting: set[str]) -> int:
        """How many of a gang's pods have a node or had one, those apart that merely wait there for the others (keys)."""
        pods = self._snapshot.pods
        return sum(
            pods.phase[row] == SUCCEEDED or (pods.node[row] != -1 and pods.keys[row] not in waiting)
            for row in self.members(gang)
        )

    def report(self, assumed: set[str]) -> list[SetPodGroup]:
        """The status of the PodGroups whose pods have changed; pods (keys) that are merely assumed do not count yet."""
        found = []
        for gang, group in self._snapshot.others.get("PodGroup", {}).items():
            there = self.on_nodes(gang, assumed)
            phase = "Pending" if not there else "Scheduled" if there >= group.spec.min_member else "Scheduling"
            action = SetPodGroup(Ref("PodGroup", group.metadata.name, group.metadata.namespace), phase, there)
            if (group.status.phase, group.status.scheduled) != (phase, there) and self._said.get(gang) != action:
                found.append(action)
                self._said[gang] = action
        return found


def _terms(gang: str, said: Mapping[str, str], minimum: str, wait: int | None) -> Terms | Malformed:
    if not minimum.isdigit() or int(minimum) < 1:
        return Malformed(f"gang {gang} has a minimum of {minimum or 'none'}; accepted: a number of pods from 1 on")
    seconds = float(wait) if wait is not None else WAIT_SECONDS
    text = said.get(GANG + "waiting-time")
    if wait is None and text is not None:
        found = go_duration(text)
        if found is None or found <= 0:
            return Malformed(f"gang {gang} has the waiting-time {text}; accepted: a duration such as 10m")
        seconds = found
    mode, policy = said.get(GANG + "mode") or MODES[0], said.get(GANG + "match-policy") or POLICIES[0]
    for name, value, accepted in (("mode", mode, MODES), ("match-policy", policy, POLICIES)):
        if value not in accepted:
            return Malformed(f"gang {gang} has the {name} {value}; accepted: one of {', '.join(accepted)}")
    try:
        groups = msgspec.json.decode(said.get(GANG + "groups") or "[]", type=list[str])
    except msgspec.MsgspecError:
        return Malformed(f"gang {gang} has the groups {said[GANG + 'groups']}; accepted: a JSON list of namespace/name")
    return Terms(int(minimum), seconds, mode == "Strict", policy, tuple(sorted({gang, *groups})))
