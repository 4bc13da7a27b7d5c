"""A dump that can be shared: names hashed, structure kept.

Only what the model reads is in it: no environment, command, secret, config or status message gets that far. Of that, every text is hashed that is not
known to be harmless (kinds, phases, operators, times, quantities, and labels and annotations of which a list here says so).
One text has one hash throughout, so that owners, selectors, claims and nodes still find each other; without the salt a hash cannot be
tried against a list of likely names.
"""

import contextlib
import hmac
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from neaptide.model.any_object import AnyObject
from neaptide.model.objects import Pod, Workload

Json = Any

_ENUMS = frozenset(
    [
        "kind",
        "qosClass",
        "step",
        "phase",
        "effect",
        "operator",
        "type",
        "status",
        "reason",
        "protocol",
        "restartPolicy",
        "whenUnsatisfiable",
        "nodeAffinityPolicy",
        "nodeTaintsPolicy",
        "medium",
        "schedule",
        "timeZone",
        "unhealthyPodEvictionPolicy",
        "preemptionPolicy",
        "volumeMode",
        "accessModes",
        "volumeBindingMode",
        "allocatePolicy",
    ]
)
"""Fields whose values come from a short list, or say nothing of whose cluster it is."""
_AMOUNTS = frozenset(
    [
        "requests",
        "limits",
        "allocatable",
        "capacity",
        "overhead",
        "allocatedResources",
        "usage",
        "min",
        "max",
        "used",
        "resources",
        "shared-weight",
        "guaranteed",
        "total-resource",
    ]
)
_LABELS = frozenset(["labels", "matchLabels", "nodeSelector", "selector", "reservationSelector"])
_LABEL_KEYS = frozenset(("topologyKey", "matchLabelKeys", "mismatchLabelKeys", "key"))
_PLAIN_KEYS = (
    "cpu",
    "memory",
    "ephemeral-storage",
    "pods",
    "storage",
    "metadata.name",
    "pod-group.scheduling.sigs.k8s.io",
    "",
)
"""Keys without a domain that are nobody's own: resources, the field by which a DaemonSet's pods name their node, a pod's gang."""
_PLAIN = re.compile(r"[0-9T:.Z+%-]*")
"""Times, numbers and percentages."""

_KNOWN_DOMAINS = (
    "kubernetes.io",
    "k8s.io",
    "karpenter.sh",
    "karpenter.k8s.aws",
    "koordinator.sh",
    "neaptide.io",
    "nvidia.com",
    "amd.com",
    "eks.amazonaws.com",
    "cloud.google.com",
    "kubernetes.azure.com",
    "eks-node-viewer",
    "apps.kruise.io",
)
_TELLING = (
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "karpenter.sh/capacity-type",
    "eks.amazonaws.com/capacityType",
    "cloud.google.com/gke-spot",
    "cloud.google.com/gke-preemptible",
    "kubernetes.azure.com/scalesetpriority",
    "node.kubernetes.io/lifecycle",
    "nvidia.com/gpu.product",
    "nvidia.com/gpu.count",
    "neaptide.io/price-per-hour",
    "eks-node-viewer/instance-price",
    "koordinator.sh/qosClass",
    "koordinator.sh/priority-class",
    "koordinator.sh/eviction-enabled",
    "quota.scheduling.koordinator.sh/is-parent",
    "quota.scheduling.koordinator.sh/allow-lent-resource",
    "quota.scheduling.koordinator.sh/preemptible",
)
"""Labels whose values are kept: what a node is and costs, how a pod is to be treated."""
_READ_ANNOTATIONS = (
    "karpenter.sh/",
    "cluster-autoscaler.kubernetes.io/",
    "controller.kubernetes.io/",
    "koordinator.sh/",
    "node.koordinator.sh/",
    "scheduling.koordinator.sh/",
    "gang.scheduling.koordinator.sh/",
    "quota.scheduling.koordinator.sh/",
    "neaptide.io/",
    "kubernetes.io/config.mirror",
)
_TELLING_ANNOTATIONS = frozenset(
    [
        "karpenter.sh/do-not-disrupt",
        "cluster-autoscaler.kubernetes.io/safe-to-evict",
        "cluster-autoscaler.kubernetes.io/scale-down-disabled",
        "cluster-autoscaler.kubernetes.io/pod-scale-up-delay",
        "controller.kubernetes.io/pod-deletion-cost",
        "koordinator.sh/eviction-priority",
        "koordinator.sh/eviction-policy",
        "node.koordinator.sh/colocation-strategy",
        "scheduling.koordinator.sh/usage-thresholds",
        "gang.scheduling.koordinator.sh/mode",
        "gang.scheduling.koordinator.sh/match-policy",
        "gang.scheduling.koordinator.sh/waiting-time",
        "neaptide.io/hold",
        "neaptide.io/spot",
        "neaptide.io/prefer-spot",
        "neaptide.io/reserve-on-update",
        "neaptide.io/virtual-nodes",
    ]
)
"""Annotations whose values are kept: switches, modes, durations, percentages. Those of all others are hashed."""
_JSON_ANNOTATIONS = frozenset(
    [
        "node.koordinator.sh/reservation",
        "scheduling.koordinator.sh/device-allocated",
        "scheduling.koordinator.sh/reservation-allocated",
        "scheduling.koordinator.sh/reservation-affinity",
        "gang.scheduling.koordinator.sh/groups",
        "quota.scheduling.koordinator.sh/namespaces",
        "quota.scheduling.koordinator.sh/shared-weight",
        "quota.scheduling.koordinator.sh/guaranteed",
        "quota.scheduling.koordinator.sh/total-resource",
    ]
)
"""Annotations that are JSON, of which the texts are hashed one by one: what they refer to is still found."""
_WELL_KNOWN = frozenset(
    [
        "default",
        "kube-system",
        "kube-public",
        "kube-node-lease",
        "default-scheduler",
        "system-node-critical",
        "system-cluster-critical",
        "koord-prod",
        "koord-mid",
        "koord-batch",
        "koord-free",
        "koordinator-root-quota",
    ]
)
"""Names that every cluster has, and that policies look for."""


class Anonymiser:
    """Hashes texts with one salt: equal texts get equal hashes."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def documents(self, items: Iterable[AnyObject]) -> Iterable[dict[str, Json]]:
        """Objects as plain JSON values with their kinds."""
        for item in items:
            kind = item.kind if isinstance(item, Workload) else type(item).__name__
            plain = self._mapping(msgspec.to_builtins(item), "")
            if isinstance(item, Pod):
                self._keep_static_name(item, plain)
            yield {"kind": kind} | plain

    def text(self, text: str) -> str:
        """The hash of a text: a name that Kubernetes accepts; well-known names and the empty text stay."""
        if not text or text in _WELL_KNOWN:
            return text
        return "x" + hmac.new(self._salt, text.encode(), "sha256").hexdigest()[:12]

    def _value(self, name: str, value: Json) -> Json:
        if isinstance(value, dict):
            return self._mapping(value, name)
        if isinstance(value, list | tuple):
            return [self._value(name, each) for each in value]
        if name == "apiVersion":
            return self._api_version(value)
        if not isinstance(value, str) or name in _ENUMS or _PLAIN.fullmatch(value):
            return value
        if name == "groups":  # of gangs, as namespace/name
            return "/".join(map(self.text, value.split("/")))
        return self._label_key(value) if name in _LABEL_KEYS else self.text(value)

    def _mapping(self, value: dict[str, Json], name: str) -> dict[str, Json]:
        if name in _AMOUNTS and all(isinstance(each, str | int | float) for each in value.values()):
            return {self._label_key(key): amount for key, amount in value.items()}
        if name == "annotations":
            return {
                key: self._annotation(key, text) for key, text in value.items() if key.startswith(_READ_ANNOTATIONS)
            }
        if name in _LABELS and all(isinstance(each, str) for each in value.values()):
            return {self._label_key(key): self._label_value(key, text) for key, text in value.items()}
        plain = {key: self._value(key, each) for key, each in value.items()}
        if isinstance(value.get("key"), str):  # a requirement, a taint or a toleration
            key = value["key"]
            if "values" in value:
                plain["values"] = [self._label_value(key, each) for each in value["values"]]
            if "value" in value:
                plain["value"] = self._label_value(key, value["value"])
        return plain

    def _annotation(self, key: str, text: str) -> str:
        if key in _TELLING_ANNOTATIONS or _PLAIN.fullmatch(text):
            return text
        if key in _JSON_ANNOTATIONS:
            with contextlib.suppress(msgspec.DecodeError):
                found = self._value(key.rpartition("/")[2], msgspec.json.decode(text))
                return msgspec.json.encode(found).decode()
        return self.text(text)

    def _api_version(self, value: str) -> str:
        """Groups without a dot are Kubernetes' own; others may be a company's domain."""
        group, slash, version = value.partition("/")
        return f"{self.text(group)}/{version}" if slash and "." in group and not _is_known(group) else value

    def _label_key(self, key: str) -> str:
        domain, slash, _ = key.rpartition("/")
        if not slash:
            return key if key in _PLAIN_KEYS else self.text(key)
        if _is_known(domain):
            return key
        return f"{self.text(domain)}/{self.text(key)}"

    def _label_value(self, key: str, value: str) -> str:
        return value if key in _TELLING or _PLAIN.fullmatch(value) else self.text(value)

    def _keep_static_name(self, pod: Pod, plain: dict[str, Json]) -> None:
        """A static pod is known by its name, which ends with its node's."""
        name, node = pod.metadata.name, pod.spec.node_name
        prefix = name.removesuffix("-" + node)
        if node and prefix != name:
            plain["metadata"]["name"] = f"{self.text(prefix)}-{self.text(node)}"


def _is_known(domain: str) -> bool:
    return any(domain == known or domain.endswith(f".{known}") for known in _KNOWN_DOMAINS)
