"""NodeNUMAResource: CPUs of its own for pods that say LSE or LSR, written down for the node's agent.

A node's CPUs stand in its annotation `node.koordinator.sh/cpu-topology`, which the agent writes; a node without it takes no such pod. What a pod has
stands in its annotation `scheduling.koordinator.sh/resource-status`; how it wants its CPUs in `…/resource-spec`, and what a node allows in its labels.
"""

from typing import Any, Self

import msgspec
import numpy as np

from neaptide.model.columns import Bools
from neaptide.model.cpusets import cpu_list, cpus_of
from neaptide.model.node_reservation import ANNOTATION as RESERVATION
from neaptide.model.qos import QoS, explicit_qos
from neaptide.noderules.cpu_allocation import CpuAsk, Held, allocate
from neaptide.noderules.cpuset import Cpu
from neaptide.placement.cycle.plugin import Plugin, PluginSpec
from neaptide.placement.view import View

TOPOLOGY = "node.koordinator.sh/cpu-topology"
STATUS, SPEC = "scheduling.koordinator.sh/resource-status", "scheduling.koordinator.sh/resource-spec"
BIND_LABEL, NUMA_LABEL = "node.koordinator.sh/cpu-bind-policy", "node.koordinator.sh/numa-topology-policy"
STRATEGY_LABEL = "node.koordinator.sh/numa-allocate-strategy"
NO_TOPOLOGY = "CPU topology is unknown"


class NodeNUMAResource(PluginSpec, frozen=True, tag="NodeNUMAResource"):
    """`default_bind_policy` is for pods that name none."""

    default_bind_policy: str = "FullPCPUs"

    def plugin(self, view: View) -> Plugin:
        return BoundCpus(view, self)


class BoundCpus(Plugin):
    """The CPUs of all nodes that some pod has to itself."""

    name = "NodeNUMAResource"

    def __init__(self, view: View, spec: NodeNUMAResource) -> None:
        self._snapshot, self._spec = view.snapshot, spec
        self._given: dict[str, frozenset[int]] = {}
        self._topologies: dict[str, tuple[Cpu, ...]] = {}

    def take_over(self, before: Self) -> None:
        self._given = before._given

    def concerns(self, pod: int) -> bool:
        return explicit_qos(self._snapshot.pod_labels(pod)) in (QoS.LSE, QoS.LSR)

    def pre_filter(self, pod: int, now: float) -> str:
        del now
        milli = self._milli(pod)
        return "" if milli and milli % 1000 == 0 else f"a pod of class LSE or LSR needs whole CPUs, not {milli}m"

    def failures(self, pod: int, now: float) -> dict[str, Bools]:
        del now
        found: dict[str, Bools] = {}
        nodes = self._snapshot.nodes
        for node in np.flatnonzero(nodes.alive[: nodes.rows]).tolist():
            chosen = self._choose(pod, node)
            if isinstance(chosen, str):
                found.setdefault(chosen, np.zeros(nodes.rows, dtype=np.bool_))[node] = True
        return found

    def reserve(self, pod: int, node: int, now: float) -> dict[str, str]:
        del now
        chosen = self._choose(pod, node)
        if isinstance(chosen, str):
            return {}
        self._given[self._snapshot.pods.keys[pod]] = frozenset(chosen)
        topology = {cpu.id: cpu for cpu in self._topology(node)}
        numa: dict[int, int] = {}
        for cpu in chosen:
            numa[topology[cpu].numa] = numa.get(topology[cpu].numa, 0) + 1
        parts = [{"node": each, "resources": {"cpu": str(count)}} for each, count in sorted(numa.items())]
        return {STATUS: msgspec.json.encode({"cpuset": cpu_list(chosen), "numaNodeResources": parts}).decode()}

    def unreserve(self, pod: int, node: int) -> None:
        del node
        self._given.pop(self._snapshot.pods.keys[pod], None)

    def pod_changed(self, key: str) -> None:
        if key not in self._snapshot.pods.by_key:
            self._given.pop(key, None)

    def _choose(self, pod: int, node: int) -> tuple[int, ...] | str:
        topology = self._topology(node)
        if not topology:
            return NO_TOPOLOGY
        held = [self._held(other) for other in self._snapshot.pods_on(node) if other != pod]
        reserved = _cpus(self._snapshot.node_annotations(node).get(RESERVATION), "reservedCPUs")
        return allocate(self._ask(pod, node), topology, [each for each in held if each.cpus], reserved)

    def _ask(self, pod: int, node: int) -> CpuAsk:
        wishes = _read(self._snapshot.pod_annotations(pod).get(SPEC))
        labels = self._snapshot.node_labels(node)
        on_node = labels.get(BIND_LABEL, "")
        required = wishes.get("requiredCPUBindPolicy")
        policy = str(required or wishes.get("preferredCPUBindPolicy") or self._spec.default_bind_policy)
        if on_node == "SpreadByPCPUs":
            policy = on_node
        full_only = on_node == "FullPCPUsOnly" or required == "FullPCPUs"
        return CpuAsk(
            self._milli(pod) // 1000,
            policy if policy == "SpreadByPCPUs" and not full_only else "FullPCPUs",
            str(wishes.get("preferredCPUExclusivePolicy", "")),
            labels.get(NUMA_LABEL, ""),
            labels.get(STRATEGY_LABEL, "MostAllocated"),
            full_only,
        )

    def _held(self, pod: int) -> Held:
        annotations = self._snapshot.pod_annotations(pod)
        given = self._given.get(self._snapshot.pods.keys[pod])
        cpus = given if given is not None else _cpus(annotations.get(STATUS), "cpuset")
        return Held(cpus, str(_read(annotations.get(SPEC)).get("preferredCPUExclusivePolicy", "")) if cpus else "")

    def _milli(self, pod: int) -> int:
        shape = self._snapshot.shape_facts.values[int(self._snapshot.classes.shape[self._snapshot.pods.cls[pod]])]
        return int(shape.requests.get("cpu", 0))

    def _topology(self, node: int) -> tuple[Cpu, ...]:
        text = self._snapshot.node_annotations(node).get(TOPOLOGY, "")
        known = self._topologies.get(text)
        if known is None:
            known = self._topologies[text] = _topology(text)
        return known


def _topology(text: str) -> tuple[Cpu, ...]:
    """None where nobody can read it."""
    try:
        detail = _read(text).get("detail", [])
        return tuple(Cpu(int(each["id"]), int(each["core"]), int(each["socket"]), int(each["node"])) for each in detail)
    except (KeyError, TypeError, ValueError):
        return ()


def _cpus(text: str | None, field: str) -> frozenset[int]:
    """The list of CPUs in a field of a JSON object; none where there is none."""
    listed = _read(text).get(field)
    return cpus_of(listed) if isinstance(listed, str) else frozenset()


def _read(text: str | None) -> dict[str, Any]:
    """A JSON object; nothing of a text that is none."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
