"""Policy `consolidation`: gives nodes back, replaces them by cheaper ones and merges them, as one plan for the whole cluster.

What to do is decided once (consolidation_choice), and then carried out cycle by cycle from what is seen (consolidation_run). A node is tainted
first, and everything is looked at again when the taint is there: then replacements are bought, pods are evicted once there is room for
all pods of their node, and a node is given back when it is empty. A node that may not go any more is left, and its taint taken off.
"""

from hashlib import blake2b

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from neaptide.model.actions import FOR_LABEL, Declined, Plan
from neaptide.model.derived import NODES, PODS
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.consolidation_candidates import OUT_OF_SCOPE, is_marked
from neaptide.policies.consolidation_choice import Order, Source, decide
from neaptide.policies.consolidation_run import NAME, Run, staying
from neaptide.policies.consolidation_spec import ConsolidationSpec
from neaptide.policies.consolidation_survey import Survey, survey
from neaptide.policies.consolidation_waves import Waves

_LOOK_AGAIN_SECONDS = 300.0
"""A cluster in which there was nothing to do is looked at again after that time even if nothing has changed."""
_STARTING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "karpenter.sh/unregistered")
"""How the keys of taints begin that nodes have while they start."""
_FOLLOW_UPS = 3
"""Plans that follow at once on one that some nodes' pods found no room for."""
_KEPT_BACK = 0.02
"""The part of `maxEvictions` that is left for these."""


class ConsolidationMemory(Struct):
    """What is under way, by name and in order.

    Attributes:
        sources: nodes on their way out.
        orders: nodes that are bought, by what the plan calls them.
        spent: when pods were moved, and how many.
        settled: a fingerprint of the cluster in which there was nothing to do.
        waves: which nodes were opened for pods that move.
        cut: how many pods of the last plan stayed for want of room: so many may move in another plan that follows at once, and as many
            as may be on their way at once.
        follow_ups: how many plans in a row have followed at once.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    spent: tuple[tuple[float, int], ...] = ()
    settled: str = ""
    waves: Waves = field(default_factory=Waves)
    cut: int = 0
    follow_ups: int = 0


class Consolidation:
    """The policy."""

    name = NAME
    spec_type = ConsolidationSpec
    memory_type = ConsolidationMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: ConsolidationSpec,
        memory: ConsolidationMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, ConsolidationMemory]:
        """What is to be done with nodes: carried on where something is under way, else decided anew."""
        sources, moved = _seen(snapshot, memory)
        orders = _outstanding(snapshot, memory)
        spent = tuple(each for each in memory.spent if now - each[0] < spec.eviction_window_seconds)
        spent = (*spent, (now, moved)) if moved else spent
        declined: list[Declined] = []
        settled, follow_ups, cut = memory.settled, memory.follow_ups, memory.cut
        if not sources and not orders:
            fingerprint = _fingerprint(snapshot, spec, spent, now)
            if fingerprint != settled:
                found = survey(snapshot, spec, now, covers)
                declined = _declined(snapshot, found)
                again = max(cut, spec.at_once(len(snapshot.pods.indices()))) if cut and follow_ups < _FOLLOW_UPS else 0
                follow_ups, cut = follow_ups + 1 if again else 0, 0
                left = _evictions_left(found, spec, spent, again, now)
                sources, orders = decide(snapshot, found, spec, left, now, mends=bool(again))
                settled = "" if sources else fingerprint
        waves = msgspec.structs.replace(memory.waves, opened=dict(memory.waves.opened)) if sources else Waves()
        run = Run(snapshot, spec, sources, orders, now, covers, waves)
        run.advance()
        plan = Plan(NAME, tuple(run.actions), (*declined, *run.declined), tuple(run.later))
        return plan, ConsolidationMemory(run.sources, run.orders, spent, settled, run.waves, cut + run.cut, follow_ups)


def _seen(snapshot: ClusterSnapshot, memory: ConsolidationMemory) -> tuple[dict[str, Source], int]:
    """The nodes on their way out that are still there, and how many pods have left tainted ones since the last cycle."""
    sources: dict[str, Source] = {}
    moved = 0
    for name, source in memory.sources.items():
        node = snapshot.nodes.by_name.get(name)
        pods = 0 if node is None else sum(1 for _ in staying(snapshot, node))
        if node is None or is_marked(snapshot, node):
            moved += max(source.pods - pods, 0)
        if node is not None:
            sources[name] = replace(source, pods=pods)
    return sources, moved


def _outstanding(snapshot: ClusterSnapshot, memory: ConsolidationMemory) -> dict[str, Order]:
    """What was to be bought and has not joined, or takes no pods yet: it is not ready, or tainted for as long as it starts."""
    nodes = snapshot.nodes.indices()
    ready = nodes[snapshot.nodes.ready[nodes]].tolist() if memory.orders else []
    arrived = {snapshot.node_labels(node).get(FOR_LABEL) for node in ready if not _is_starting(snapshot, node)}
    return {name: order for name, order in memory.orders.items() if name not in arrived}


def _is_starting(snapshot: ClusterSnapshot, node: int) -> bool:
    """Whether a node (row) carries a taint that comes off when it has started."""
    return any(
        taint.effect != "PreferNoSchedule" and taint.key.startswith(_STARTING) for taint in snapshot.node_taints(node)
    )


def _declined(snapshot: ClusterSnapshot, found: Survey) -> list[Declined]:
    """The nodes that may not go, but those that are nobody's business here."""
    return [
        Declined(snapshot.node_ref(each.node), each.objection)
        for each in found.candidates
        if each.objection is not None and each.objection != OUT_OF_SCOPE
    ]


def _evictions_left(
    found: Survey, spec: ConsolidationSpec, spent: tuple[tuple[float, int], ...], again: int, now: float
) -> int:
    """How many pods may be moved; within the cool-down, as many as may be moved again because the plan before could not move all of its pods."""
    limit = int(found.problem.pods.sum())
    if spent and now - spent[-1][0] < spec.cool_down_seconds:
        limit = again
    if spec.max_evictions is None:
        return limit
    kept = 0 if again else int(spec.max_evictions * _KEPT_BACK)
    return max(min(spec.max_evictions - kept - sum(count for _, count in spent), limit), 0)


def _fingerprint(
    snapshot: ClusterSnapshot, spec: ConsolidationSpec, spent: tuple[tuple[float, int], ...], now: float
) -> str:
    """What a decision depends on, in short."""
    offered = [(each.instance_type, each.capacity_type, each.zone, each.price_per_hour) for each in snapshot.offerings]
    cluster = snapshot.derived.of("consolidation fingerprint", (NODES, PODS), lambda: _of_cluster(snapshot))
    words = cluster, offered, spec, spent, now // _LOOK_AGAIN_SECONDS
    return blake2b(msgspec.msgpack.encode(words), digest_size=16).hexdigest()


def _of_cluster(snapshot: ClusterSnapshot) -> bytes:
    """The part of it that is the cluster's."""
    nodes, pods = snapshot.nodes, snapshot.pods
    alive, there = nodes.indices(), pods.indices()
    total = blake2b(digest_size=16)
    for column in (alive, nodes.price[alive], nodes.ready[alive], nodes.unschedulable[alive]):
        total.update(column.tobytes())
    for column in (there, pods.node[there], pods.phase[there]):
        total.update(column.tobytes())
    taints = [(nodes.names[row], snapshot.node_taints(row)) for row in alive.tolist()]
    total.update(msgspec.msgpack.encode((taints, pods.keys, pods.uids)))
    return total.digest()
