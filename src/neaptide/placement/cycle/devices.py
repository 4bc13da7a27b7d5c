"""DeviceShare: GPUs given out device by device, whole or in hundredths, by one of the GPU placement policies.

A pod asks for whole devices by `nvidia.com/gpu`, or for a share by `koordinator.sh/gpu-core` and `koordinator.sh/gpu-memory-ratio`
(hundredths of a device, the larger counts; several whole ones in multiples of 100). Which devices a pod has stands in its annotation
`scheduling.koordinator.sh/device-allocated`; a pod without it is taken to have the tightest devices that it fits on.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np

from neaptide.model.columns import Bools, Longs
from neaptide.model.shapes import Shape
from neaptide.placement.cycle.plugin import Plugin, PluginSpec
from neaptide.placement.gpu.policies import gpu_policy
from neaptide.placement.gpu.state import WHOLE, GpuPods, NodeState
from neaptide.placement.gpu.steps import shares, tightest
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.placement.view import View

GPU, CORE, MEMORY_RATIO = "nvidia.com/gpu", "koordinator.sh/gpu-core", "koordinator.sh/gpu-memory-ratio"
PRODUCT = "nvidia.com/gpu.product"
ALLOCATED = "scheduling.koordinator.sh/device-allocated"
INSUFFICIENT = "Insufficient gpu devices"
MOST = 62
"""Devices of a node, for a set of them is the bits of one int64."""
_LEARN_AGAIN = 1.25
"""What pods are typical is learnt again when pods with GPU, or devices, have become so many times more or fewer."""


class DeviceShare(PluginSpec, frozen=True, tag="DeviceShare"):
    """`policy` names a GPU placement policy; its score, 0..100, is multiplied by `weight`."""

    policy: str = "neap"
    weight: int = 100

    def __post_init__(self) -> None:
        gpu_policy(self.policy)

    def plugin(self, view: View) -> Plugin:
        return Devices(view, self)


class _Ask(NamedTuple):
    """What pods of a shape ask for: devices, and milli on each; `problem` says why that cannot be had."""

    shape: Shape
    devices: int
    milli: int
    problem: str = ""


class _Learned(NamedTuple):
    """From how many pods, and devices by model, what is typical was learnt."""

    pods: int
    devices: dict[str, int]

    def still_true(self, pods: int, devices: dict[str, int]) -> bool:
        """Whether pods and devices are about as many as then."""
        pairs = [(self.pods, pods), (sum(self.devices.values()), sum(devices.values()))]
        return devices.keys() == self.devices.keys() and all(
            before / _LEARN_AGAIN <= now <= before * _LEARN_AGAIN for before, now in pairs
        )


class Devices(Plugin):
    """The devices of all nodes, kept up with the snapshot."""

    name = "DeviceShare"

    def __init__(self, view: View, spec: DeviceShare) -> None:
        self._view, self._snapshot, self._spec = view, view.snapshot, spec
        policy = gpu_policy(spec.policy)
        self._score, self._pick = (each.pick(compiled=HAVE_NUMBA) for each in (policy.score, policy.devices))
        self._policy = policy
        self._asks: dict[int, _Ask] = {}
        self._given: dict[str, int] = {}
        self._models: dict[str, int] = {}
        self._state = _state(0, 1)
        self._knowledge: tuple[Any, ...] = ()
        self._learned: _Learned | None = None
        self._stale = True
        self._position = 0
        self._decode = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode

    def take_over(self, before: Self) -> None:
        self._given = before._given

    def concerns(self, pod: int) -> bool:
        ask = self._ask(pod)
        return bool(ask.devices or ask.problem)

    def pre_filter(self, pod: int, now: float) -> str:
        del now
        return self._ask(pod).problem

    def failures(self, pod: int, now: float) -> dict[str, Bools]:
        del now
        self._refresh()
        ask = self._ask(pod)
        able = (self._state.gpu_free >= ask.milli).sum(axis=1)
        return {INSUFFICIENT: able < ask.devices}

    def scores(self, pod: int, rows: Longs, now: float) -> Longs | None:
        del now
        self._refresh()
        out = np.zeros(len(self._state.cpu_free), dtype=np.int16)
        self._score(rows, *self._state, self._request(pod), out, *self._learn())
        return self._spec.weight * out[rows].astype(np.int64)

    def reserve(self, pod: int, node: int, now: float) -> dict[str, str]:
        del now
        self._refresh()
        self._count(node, without=pod)
        chosen = int(self._pick(node, *self._state, self._request(pod), 0.0, *self._learn()))
        self._given[self._snapshot.pods.keys[pod]] = chosen
        self._count(node)
        return {ALLOCATED: _annotation(chosen, self._ask(pod).milli)}

    def unreserve(self, pod: int, node: int) -> None:
        self._given.pop(self._snapshot.pods.keys[pod], None)
        self._refresh()
        self._count(node)

    def changed(self, kind: str, key: str) -> None:
        del key
        self._stale = self._stale or kind == "Node"

    def pod_changed(self, key: str) -> None:
        self._stale = True
        if key not in self._snapshot.pods.by_key:
            self._given.pop(key, None)

    def free(self, node: int) -> list[int]:
        """Milli free on each device of a node (row)."""
        self._refresh()
        devices = int(self._state.gpu_count[node])
        found: list[int] = self._state.gpu_free[node, :devices].tolist()
        return found

    # -- what pods ask for ---------------------------------------------------------------------------------------------

    def _ask(self, pod: int) -> _Ask:
        row = int(self._snapshot.classes.shape[self._snapshot.pods.cls[pod]])
        shape = self._snapshot.shape_facts.values[row]
        known = self._asks.get(row)
        if known is None or known.shape is not shape:
            known = self._asks[row] = _ask_of(shape)
        return known

    def _request(self, pod: int) -> Longs:
        ask, requests = self._ask(pod), self._ask(pod).shape.requests
        return np.array([requests.get("cpu", 0), requests.get("memory", 0), ask.devices, ask.milli], dtype=np.int64)

    # -- what nodes have -----------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Catch up with the snapshot."""
        changed = set(self._snapshot.changed_nodes[self._position :])
        self._position = len(self._snapshot.changed_nodes)
        rows = self._snapshot.nodes.rows
        changed |= set(range(len(self._state.cpu_free), rows))
        counts = {node: self._devices(node) for node in changed if node < rows}
        most = max(counts.values(), default=0)
        if rows > len(self._state.cpu_free) or most > self._state.gpu_free.shape[1]:
            self._state = _grown(self._state, rows, max(most, self._state.gpu_free.shape[1]))
        for node in counts:
            self._count(node)

    def _devices(self, node: int) -> int:
        nodes = self._snapshot.nodes
        if not nodes.alive[node]:
            return 0
        found = [
            int(nodes.allocatable[row, node]) // unit
            for name, unit in ((GPU, 1), (CORE, 100))
            if (row := self._snapshot.resource_row(name)) is not None
        ]
        return min(max(found, default=0), MOST)

    def _count(self, node: int, *, without: int = -1) -> None:
        """Count what a node has free beside its pods, one of them apart."""
        state, snapshot, devices = self._state, self._snapshot, self._devices(node)
        free = snapshot.nodes.allocatable[:2, node] - snapshot.nodes.used[:2, node]
        if without >= 0:
            free = free + snapshot.pod_requests(np.array([without]))[:2, 0]
        state.cpu_free[node], state.memory_free[node] = free
        state.gpu_count[node] = devices
        state.gpu_free[node] = np.where(np.arange(state.gpu_free.shape[1]) < devices, WHOLE, 0)
        state.kinds[node] = 0
        if not devices:
            return
        model = snapshot.node_labels(node).get(PRODUCT, "")
        state.model[node] = self._models.setdefault(model, len(self._models))
        holders = [pod for pod in snapshot.pods_on(node) if pod != without and self._ask(pod).devices]
        known = {pod: mask for pod in holders if (mask := self._mask(pod)) is not None}
        for pod in [*known, *sorted(pod for pod in holders if pod not in known)]:
            request = self._request(pod)
            mask = (
                known[pod]
                if pod in known
                else tightest(state.gpu_free[node], np.minimum(request, [1 << 62, 1 << 62, devices, WHOLE]))
            )
            for device in _bits(mask, state.gpu_free.shape[1]):
                state.gpu_free[node, device] -= request[3]
            state.kinds[node, 0 if shares(request) else min(int(request[2]), state.kinds.shape[1] - 1)] += 1

    def _mask(self, pod: int) -> int | None:
        """The devices that a pod has, as bits; None where nothing says so."""
        given = self._given.get(self._snapshot.pods.keys[pod])
        if given is not None:
            return given
        text = self._snapshot.pod_annotations(pod).get(ALLOCATED)
        if text is None:
            return None
        try:
            minors = [int(each["minor"]) for each in self._decode(text).get("gpu", [])]
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return None
        return sum(1 << minor for minor in set(minors) if 0 <= minor < MOST)

    def _learn(self) -> tuple[Any, ...]:
        """What the policy knows of the pods that are typical."""
        if not self._stale:
            return self._knowledge
        self._stale = False
        pods = self._snapshot.pods
        rows = pods.indices()
        shapes, counts = np.unique(self._snapshot.classes.shape[pods.cls[rows]], return_counts=True)
        asks = [_ask_of(self._snapshot.shape_facts.values[each]) for each in shapes.tolist()]
        total = int(sum(count for ask, count in zip(asks, counts.tolist(), strict=True) if ask.devices))
        devices = self._devices_by_model()
        if self._learned is None or not self._learned.still_true(total, devices):
            self._learned = _Learned(total, devices)
            history = _history((ask, count) for ask, count in zip(asks, counts.tolist(), strict=True) if ask.devices)
            self._knowledge = self._policy.knowledge(history, devices)
        return self._knowledge

    def _devices_by_model(self) -> dict[str, int]:
        """How many devices of each model there are, models in the order in which they were met."""
        state = self._state
        counts = np.bincount(state.model, weights=state.gpu_count, minlength=len(self._models))
        return dict(zip(self._models, counts.astype(np.int64).tolist(), strict=True))


def _ask_of(shape: Shape) -> _Ask:
    requests = shape.requests
    whole, share = requests.get(GPU, 0), max(requests.get(CORE, 0), requests.get(MEMORY_RATIO, 0))
    if whole or not share:
        return _Ask(shape, whole, WHOLE if whole else 0)
    if share <= 100:
        return _Ask(shape, 1, share * WHOLE // 100)
    if share % 100:
        return _Ask(shape, 0, 0, f"{CORE} of {share} is neither at most 100 nor a multiple of it")
    return _Ask(shape, share // 100, WHOLE)


def _history(asks: Iterable[tuple[_Ask, int]]) -> GpuPods:
    """Pods as GPU policies learn from them."""
    found = [(ask, count) for ask, count in asks]
    counts = np.array([count for _, count in found], dtype=np.int64)

    def column(amounts: list[int]) -> Longs:
        return np.repeat(np.array(amounts, dtype=np.int64), counts)

    specs = [ask.shape.requirements.node_selector.get(PRODUCT, "") for ask, _ in found]
    return GpuPods(
        names=[""] * int(counts.sum()),
        cpu=column([ask.shape.requests.get("cpu", 0) for ask, _ in found]),
        memory=column([ask.shape.requests.get("memory", 0) for ask, _ in found]),
        num_gpu=column([ask.devices for ask, _ in found]),
        gpu_milli=column([ask.milli for ask, _ in found]),
        gpu_spec=[spec for spec, count in zip(specs, counts.tolist(), strict=True) for _ in range(count)],
    )


def _state(nodes: int, devices: int) -> NodeState:
    row = np.zeros(nodes, dtype=np.int64)
    gpu, kinds = (np.zeros((nodes, width), dtype=np.int64) for width in (devices, devices + 1))
    return NodeState(row, row.copy(), gpu, row.copy(), row.copy(), kinds)


def _grown(old: NodeState, nodes: int, devices: int) -> NodeState:
    """A state with room for more nodes and devices."""
    new = _state(nodes, devices)
    for before, after in zip(old, new, strict=True):
        after[tuple(slice(size) for size in before.shape)] = before
    return new


def _bits(mask: int, width: int) -> list[int]:
    return [device for device in range(width) if mask >> device & 1]


def _annotation(mask: int, milli: int) -> str:
    share = str(milli * 100 // WHOLE)
    resources: Mapping[str, str] = {CORE: share, MEMORY_RATIO: share}
    return msgspec.json.encode(
        {"gpu": [{"minor": minor, "resources": resources} for minor in _bits(mask, MOST)]}
    ).decode()
