"""Trying a gang: its pods, and those of the gangs that go with it, get their nodes together or not at all.

A gang is tried as a whole within one cycle, so that two of them never hold parts of the room that both need. A non-strict
gang may keep the nodes that some of its pods found, for its waiting time at most.
"""

from collections import Counter
from collections.abc import Sequence

from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.assumed import Assumptions, Stage
from neaptide.placement.cycle.attempts import Attempt, Attempts
from neaptide.placement.cycle.gangs import Gangs, Malformed, Terms
from neaptide.placement.cycle.nominations import Nominations, rank_of
from neaptide.placement.cycle.preemption import Made, Preemptor
from neaptide.placement.cycle.queue import Queue, Waiting
from neaptide.placement.cycle.refusals import Refusals

NAME = "Coscheduling"
_Left = list[tuple[Waiting, Attempt]]


class GangAttempts:
    """Tries gangs against the snapshot as it is."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        queue: Queue,
        gangs: Gangs,
        attempts: Attempts,
        assumptions: Assumptions,
        nominations: Nominations,
        preemptor: Preemptor,
        refusals: Refusals,
    ) -> None:
        self._snapshot, self._queue, self._gangs, self._attempts = snapshot, queue, gangs, attempts
        self._assumptions, self._nominations = assumptions, nominations
        self._preemptor, self._refusals = preemptor, refusals

    def attempt(self, gang: str, order: Sequence[Waiting], now: float) -> set[str]:
        """Try a gang and those that go with it; all their names. `order` is that of the cycle, for those that are in it."""
        terms = {gang: self._gangs.terms(gang)}
        first = terms[gang]
        if isinstance(first, Terms):
            terms |= {each: self._gangs.terms(each) for each in first.together}
        waiting = self._waiting(terms, order)
        problem = self._problem(terms, waiting)
        if problem:
            for pod in waiting:
                self._refusals.leave(pod, frozenset((NAME,)), problem, now)
            return set(terms)
        sound = {name: each for name, each in terms.items() if isinstance(each, Terms)}
        with self._nominations.held(rank_of(self._snapshot, waiting[0].row), {pod.key for pod in waiting}):
            left = self._place(waiting, sound, now)
        self._conclude(sound, waiting, left, now)
        return set(terms)

    def _waiting(self, terms: dict[str, Terms | Malformed], order: Sequence[Waiting]) -> list[Waiting]:
        """The pods of the gangs that wait for a node, those of the cycle first."""
        found = [pod for pod in order if self._gangs.gang_of(pod.row) in terms and pod.key in self._queue.pods]
        seen = {pod.key for pod in found}
        keys = (self._snapshot.pods.keys[row] for gang in terms for row in self._gangs.members(gang))
        rest = [key for key in keys if key in self._queue.pods and key not in seen and not self._queue.is_gated(key)]
        return found + [self._queue.pods[key] for key in sorted(rest)]

    def _problem(self, terms: dict[str, Terms | Malformed], waiting: Sequence[Waiting]) -> str:
        """Why the gangs cannot be tried at all; empty where they can."""
        count = Counter(self._gangs.gang_of(pod.row) for pod in waiting)
        for gang, each in terms.items():
            if isinstance(each, Malformed):
                return each.message
            there = self._counted(gang, each) + len(self._held(gang)) + count[gang]
            if not self._gangs.is_satisfied(gang, each) and there < each.minimum:
                return f"gang {gang} has {there} of the {each.minimum} pods that it needs together"
        return ""

    def _counted(self, gang: str, terms: Terms) -> int:
        """How many pods that have a node already count towards the minimum."""
        return 0 if terms.policy == "only-waiting" else self._gangs.on_nodes(gang, set(self._held(gang)))

    def _held(self, gang: str) -> list[str]:
        """The pods that keep a node and wait for the others."""
        pods = self._assumptions.pods
        keys = (self._snapshot.pods.keys[row] for row in self._gangs.members(gang))
        return [key for key in keys if key in pods and pods[key].stage is Stage.PERMIT]

    def _place(self, waiting: Sequence[Waiting], terms: dict[str, Terms], now: float) -> _Left:
        """Give nodes to as many as find one; they keep them until it is known whether that is enough. Those that found none."""
        wait = min(each.wait_seconds for each in terms.values())
        left: _Left = []
        plain: list[Waiting] = []
        for pod in waiting:
            nominated, plugins = self._nominations.node_of(pod.key), self._attempts.concerned(pod.row)
            if nominated < 0 and not plugins and self._attempts.is_plain(pod.row):
                plain.append(pod)
                continue
            attempt = self._attempts.one(pod.row, plugins, now, nominated=nominated)
            if attempt.node is None:
                left.append((pod, attempt))
            else:
                self._assumptions.reserve(pod, attempt.node, plugins, now, permit=wait)
        if plain:
            taken, nodes, more = self._attempts.many(plain)
            for pod, node in zip(taken, nodes, strict=True):
                self._assumptions.reserve(pod, node, (), now, permit=wait)
            left += more
        return left

    def _conclude(self, terms: dict[str, Terms], waiting: Sequence[Waiting], left: _Left, now: float) -> None:
        enough = all(
            self._gangs.is_satisfied(gang, each) or self._counted(gang, each) + len(self._held(gang)) >= each.minimum
            for gang, each in terms.items()
        )
        if enough:
            for key in [key for gang in terms for key in self._held(gang)]:
                assumed = self._assumptions.pods[key]
                self._refusals.settled(assumed.pod, assumed.node, now)
                self._assumptions.permit(key, now)
            for pod, attempt in left:
                self._refusals.refuse(pod, attempt, now)
        elif all(each.strict for each in terms.values()):
            self._give_up(terms, waiting, left, now)
        else:
            for pod, attempt in left:
                self._refusals.refuse(pod, attempt, now)

    def _give_up(self, terms: dict[str, Terms], waiting: Sequence[Waiting], left: _Left, now: float) -> None:
        """Give everything back; where evictions would make room for all that are missing, keep that room for the gang."""
        made = self._room(terms, left, now)
        placed: list[tuple[Waiting, int]] = []
        for gang in terms:
            for key in self._held(gang):
                assumed = self._assumptions.pods[key]
                placed.append((assumed.pod, assumed.node))
                self._assumptions.roll_back(key, now, quiet=True)
        if made is not None:
            for pod, room in (*made, *((pod, Made(node)) for pod, node in placed)):
                self._refusals.nominate(pod, room)
        plugins = frozenset(name for _, attempt in left for name in attempt.plugins)
        for pod in waiting:
            if made is None:
                self._refusals.renounce(pod, now)
            self._refusals.leave(pod, plugins, self._message(terms, waiting, left), now)

    def _message(self, terms: dict[str, Terms], waiting: Sequence[Waiting], left: _Left) -> str:
        gangs = ", ".join(terms)
        return f"{len(waiting) - len(left)} of {len(waiting)} pods of gang {gangs} found a node: {left[0][1].message}"

    def _room(self, terms: dict[str, Terms], left: _Left, now: float) -> list[tuple[Waiting, Made]] | None:
        """What would have to be evicted for the missing pods, where all of them could have room so."""
        missing = {
            gang: each.minimum - self._counted(gang, each) - len(self._held(gang))
            for gang, each in terms.items()
            if not self._gangs.is_satisfied(gang, each)
        }
        found: list[tuple[Waiting, Made]] = []
        for pod, attempt in left:
            gang = self._gangs.gang_of(pod.row)
            if gang is None or missing.get(gang, 0) <= 0:
                continue
            if self._nominations.waits_for(pod.key):
                return None
            if attempt.may_be_helped and pod.preempts:
                plugins = self._attempts.concerned(pod.row)
                verdict = None if attempt.owed else self._attempts.verdict(pod.row, plugins, now)
                made = self._preemptor.plan(pod, verdict, now)
                if made.node is not None:
                    found.append((pod, made))
                    victims = tuple(self._snapshot.pods.keys[each] for each in made.victims)
                    self._nominations.add(pod, self._snapshot.nodes.names[made.node], victims)
                    missing[gang] -= 1
        if found and all(count <= 0 for count in missing.values()):
            return found
        for pod, _ in found:
            self._nominations.drop(pod.key)
        return None
