"""ElasticQuota: pods of a quota use no more than its runtime, and what others use beyond theirs is taken back for it.

A pod belongs to the quota that its label `quota.scheduling.koordinator.sh/name` names, else to the one whose annotation
`quota.scheduling.koordinator.sh/namespaces` lists the pod's namespace, else to the quota of that namespace. Used, requested and
runtime amounts are derived from the pods; runtimes by quota_runtime.py.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Self

import msgspec
import numpy as np

from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, SUCCEEDED, Longs
from neaptide.model.requests import Amounts
from neaptide.model.scheduling_objects import ElasticQuota as QuotaObject
from neaptide.placement.cycle.actions import AnyCycleAction, Emit, SetQuota
from neaptide.placement.cycle.nominations import rank_of
from neaptide.placement.cycle.plugin import Plugin, PluginSpec
from neaptide.placement.cycle.quota_tree import PREFIX, Tree, read_tree, runtime_of
from neaptide.placement.cycle.reservation_objects import KIND as RESERVATION
from neaptide.placement.cycle.reservation_objects import is_stand_in, stand_in_key
from neaptide.placement.view import View

KIND = "ElasticQuota"


class ElasticQuota(PluginSpec, frozen=True, tag="ElasticQuota"):
    """Holds pods to their quotas."""

    def plugin(self, view: View) -> Plugin:
        return Quotas(view)


class Quotas(Plugin):
    """The quotas of a snapshot and what they use, kept up with reservations, and counted anew when others change the cluster."""

    name = KIND
    chooses_nodes = False
    has_debtors = True

    def __init__(self, view: View) -> None:
        self._snapshot = view.snapshot
        self._stale = True
        self._names: dict[int, str] = {}
        self._namespaces: dict[str, str] = {}
        self.tree = Tree({}, {})
        self.used: dict[str, Amounts] = {}
        self.runtime: dict[str, Amounts] = {}
        self._said: dict[str, SetQuota | str] = {}

    def take_over(self, before: Self) -> None:
        self._said = before._said

    def begin(self) -> None:
        self._refresh()

    def concerns(self, pod: int) -> bool:
        return bool(self._snapshot.others.get(KIND)) and bool(self.quota_of(pod))

    def changed(self, kind: str, key: str) -> None:
        del key
        if kind in (KIND, "Node"):
            self._stale = True

    def pod_changed(self, key: str) -> None:
        del key
        self._stale = True

    def quota_of(self, pod: int) -> str:
        """The name of a pod's quota, which need not exist; empty for none."""
        self._refresh()
        if is_stand_in(self._snapshot.pods.keys[pod]):
            return ""  # room that is kept is used by nobody yet
        return self._quota_of_class(int(self._snapshot.pods.cls[pod]))

    def pre_filter(self, pod: int, now: float) -> str:
        del now
        name = self.quota_of(pod)
        if name in self.tree.problems:
            return self.tree.problems[name]
        if name not in self.tree.quotas:
            return f"ElasticQuota {name} not found"
        return self._refusal(pod, self.used)

    def reserve(self, pod: int, node: int, now: float) -> dict[str, str]:
        del node, now
        self._count(pod, 1, self.used)
        return {}

    def unreserve(self, pod: int, node: int) -> None:
        del node
        self._count(pod, -1, self.used)

    def reclaimable(self, pod: int) -> list[int]:
        """The pods (rows), of no higher band, that use more than their quotas may now: the least important first to go."""
        if not self.concerns(pod):
            return []
        band, found = int(self._snapshot.pods.band[pod]), list[int]()
        mine = set(self.tree.path(self.quota_of(pod))) if self.quota_of(pod) in self.tree.quotas else set()
        for name in self.tree.quotas:
            over = {
                resource: excess
                for resource, limit in self.runtime[name].items()
                if (excess := self.used[name].get(resource, 0) - limit) > 0
            }
            if over and name not in mine:
                found += self._excess(name, over, band)
        return list(dict.fromkeys(found))

    def debtors(self, pod: int) -> list[int]:
        """Those that use more than their quotas may, and those of a lower rank in the pod's own quota."""
        if self.quota_of(pod) not in self.tree.quotas:
            return []
        rank = rank_of(self._snapshot, pod)
        own = [each for each in self._members((self.quota_of(pod),)) if rank_of(self._snapshot, each) < rank]
        return [*self.reclaimable(pod), *own]

    def passes(self, pod: int, gone: Sequence[int], come: Sequence[int]) -> bool:
        if self.quota_of(pod) not in self.tree.quotas:
            return False
        used = {quota: dict(self.used[quota]) for quota in self.tree.path(self.quota_of(pod))}
        for pods, sign in ((gone, -1), (come, 1)):
            for each in pods:
                self._count(each, sign, used)
        return not self._refusal(pod, used)

    def report(self) -> list[AnyCycleAction]:
        """Used, runtime and request of the quotas where they have changed, and what is wrong with the others."""
        if not self._snapshot.others.get(KIND):
            return []
        self._refresh()
        found: list[AnyCycleAction] = []
        for name, quota in self.tree.quotas.items():
            namespace, _, _ = quota.key.rpartition("/")
            used, runtime = (
                {resource: _text(resource, amounts.get(resource, 0)) for resource in sorted(quota.resources())}
                for amounts in (self.used[name], self.runtime[name])
            )
            said = {PREFIX + "runtime": msgspec.json.encode(runtime).decode()}
            action = SetQuota(Ref(KIND, name, namespace), used, said)
            if self._said.get(name) != action:
                self._said[name] = action
                found.append(action)
        for name, problem in self.tree.problems.items():
            if self._said.get(name) != problem:
                self._said[name] = problem
                found.append(Emit(Ref(KIND, name, self._namespace(name)), "Warning", "Refused", problem))
        return found

    # -- inside --------------------------------------------------------------------------------------------------------

    def _refusal(self, pod: int, used: Mapping[str, Amounts]) -> str:
        """Which limit a pod would break where quotas use so much; empty for none."""
        wanted = self._snapshot.shape_of_pod(pod).requests
        for quota in self.tree.path(self.quota_of(pod)):
            for resource, limit in self.runtime[quota].items():
                held = used[quota].get(resource, 0)
                if wanted.get(resource, 0) and held + wanted[resource] > limit:
                    return f"Insufficient quota {quota} of {resource}: {held} used, {wanted[resource]} wanted, {limit} allowed now"
        return ""

    def _excess(self, name: str, over: Amounts, band: int) -> list[int]:
        """Pods of a quota, or below it, that hold what it uses too much."""
        pods = self._snapshot.pods
        members = self._members([each for each in self.tree.quotas if name in self.tree.path(each)])
        started = np.nan_to_num(pods.started, nan=np.inf)
        found, left = [], dict(over)
        for each in sorted(
            (each for each in members if pods.band[each] <= band),
            key=lambda each: (bool(np.isnan(pods.deleted[each])), rank_of(self._snapshot, each), -started[each], each),
        ):
            held = self._snapshot.shape_of_pod(each).requests
            if any(left.get(resource, 0) > 0 and amount for resource, amount in held.items()):
                found.append(each)
                left = {resource: amount - held.get(resource, 0) for resource, amount in left.items()}
        return found

    def _members(self, names: Collection[str]) -> list[int]:
        """The pods (rows) on nodes that belong to these quotas, those apart that may not be preempted."""
        pods = self._snapshot.pods
        rows = np.flatnonzero((pods.node[: pods.rows] >= 0) & pods.alive[: pods.rows])
        classes = [cls for cls in np.unique(pods.cls[rows]).tolist() if self._quota_of_class(cls) in names]
        return [each for each in rows[np.isin(pods.cls[rows], classes)].tolist() if self._is_preemptible(each)]

    def _namespace(self, name: str) -> str:
        keys = (key.rpartition("/") for key in self._snapshot.others[KIND])
        return next((namespace for namespace, _, each in keys if each == name), "")

    def _is_preemptible(self, pod: int) -> bool:
        return self._snapshot.pod_labels(pod).get(PREFIX + "preemptible") != "false"

    def _count(self, pod: int, sign: int, used: dict[str, Amounts]) -> None:
        """Add what a pod asks for to those of its quotas that are in `used`."""
        name = self.quota_of(pod)
        for quota in self.tree.path(name) if name in self.tree.quotas else ():
            if quota in used:
                _add(used[quota], self._snapshot.shape_of_pod(pod).requests, sign)

    def _quota_of_class(self, cls: int) -> str:
        if cls not in self._names:
            classes = self._snapshot.classes
            labels = self._snapshot.label_sets.values[int(classes.labels[cls])]
            namespace = self._snapshot.namespaces.values[int(classes.namespace[cls])]
            self._names[cls] = labels.get(PREFIX + "name") or self._namespaces.get(namespace, "")
        return self._names[cls]

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._stale = False
        objects: dict[str, QuotaObject] = self._snapshot.others.get(KIND, {})
        self.tree = read_tree(objects)
        self._names, self._namespaces = {}, _namespaces(objects)
        if objects:
            self._count_all()

    def _count_all(self) -> None:
        """Count what quotas use and ask for from the pods themselves."""
        pods, snapshot = self._snapshot.pods, self._snapshot
        rows = pods.indices()
        rows = rows[~np.isin(pods.phase[rows], (SUCCEEDED, FAILED))]
        kept = [pods.by_key.get(stand_in_key(each), -1) for each in snapshot.others.get(RESERVATION, {}).values()]
        rows = rows[~np.isin(rows, kept)]
        self.used = {name: {} for name in self.tree.quotas}
        requests: dict[str, Amounts] = {name: {} for name in self.tree.quotas}
        for some, into, all_above in ((rows[pods.node[rows] != -1], self.used, True), (rows, requests, False)):
            classes, counts = np.unique(pods.cls[some], return_counts=True)
            for cls, count in zip(classes.tolist(), counts.tolist(), strict=True):
                name = self._quota_of_class(cls)
                if name in self.tree.quotas:
                    amounts = snapshot.shape_facts.values[int(snapshot.classes.shape[cls])].requests
                    for quota in self.tree.path(name) if all_above else (name,):
                        _add(into[quota], amounts, count)
        self.runtime = runtime_of(self.tree, requests, self._cluster())

    def _cluster(self) -> Amounts:
        nodes = self._snapshot.nodes
        total: Longs = nodes.allocatable[:, nodes.indices()].sum(axis=1)
        return dict(zip(self._snapshot.resources, total.tolist(), strict=True))


def _namespaces(objects: dict[str, QuotaObject]) -> dict[str, str]:
    """By namespace, the quota of its pods that name none."""
    found: dict[str, str] = {}
    listed: dict[str, str] = {}
    for key in sorted(objects):
        meta = objects[key].metadata
        if meta.labels.get(PREFIX + "is-parent") != "true":
            found.setdefault(meta.namespace or "default", meta.name)
        try:
            for namespace in msgspec.json.decode(meta.annotations.get(PREFIX + "namespaces") or "[]", type=list[str]):
                listed.setdefault(namespace, meta.name)
        except msgspec.MsgspecError:
            continue
    return found | listed


def _add(total: Amounts, amounts: Amounts, times: int) -> None:
    for resource, amount in amounts.items():
        total[resource] = total.get(resource, 0) + amount * times


def _text(resource: str, amount: int) -> str:
    return f"{amount}m" if resource == "cpu" else str(amount)
