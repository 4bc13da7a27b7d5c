"""What a predecessor that died in the middle of a cycle had done of what it was about to do, as the cluster shows it."""

from collections.abc import Sequence
from math import isnan

import msgspec
from msgspec import Struct

from neaptide.loop import LoopMemory
from neaptide.model.actions import AnyAction, Evict, Outcome, Resume, Scale, Suspend
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.workloads import is_suspended, pods_wanted
from neaptide.policies.arbiter import settle


class Intent(Struct, frozen=True):
    """What was about to be done, and when."""

    time: float
    actions: tuple[AnyAction, ...]


def settled(memory: LoopMemory, intent: Intent, snapshot: ClusterSnapshot) -> LoopMemory:
    """The memory with what was done of an intent."""
    done = [Outcome(each, "Done", each.reason) for each in intent.actions if was_done(each, snapshot)]
    return msgspec.structs.replace(memory, arbiter=settle(memory.arbiter, done, (), intent.time))


def was_done(action: AnyAction, snapshot: ClusterSnapshot) -> bool:
    """Whether an action was carried out; what cannot be told counts as done, for then nothing is disturbed twice."""
    target = action.target
    if isinstance(action, Evict):
        pod = snapshot.pods.by_key.get(f"{target.namespace}/{target.name}")
        gone = pod is None or target.uid not in ("", snapshot.pods.uids[pod])
        return gone or not isnan(snapshot.pods.deleted[pod])
    if isinstance(action, Suspend | Resume | Scale):
        row = snapshot.workloads.find(target.kind, target.namespace, target.name)
        workload = None if row is None else snapshot.workloads.objects[row]
        if isinstance(action, Scale):
            return workload is None or pods_wanted(workload) != action.was
        return workload is None or bool(is_suspended(workload)) == isinstance(action, Suspend)
    return True


def encode(time: float, actions: Sequence[AnyAction]) -> bytes:
    """An intent as JSON."""
    return msgspec.json.encode(Intent(time, tuple(actions)))


def decode(data: bytes) -> Intent:
    """The intent that `encode` wrote. Raises MsgspecError."""
    return msgspec.json.decode(data, type=Intent)
