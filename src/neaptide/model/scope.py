"""What of a cluster a Policy is about: namespaces by name or label, pods by label, nodes by label."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from neaptide.model.actions import Ref
from neaptide.model.objects import LabelSelector
from neaptide.model.selectors import labels_match

_EVERYTHING = LabelSelector()

Covers = Callable[[Ref], bool]
"""Whether an object is in scope."""


def everything(_: Ref) -> bool:
    """The scope that covers every object."""
    return True


class Scope(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Every part narrows; what is not given selects everything, and so does an empty selector.

    Attributes:
        namespaces: names; none means every namespace.
        namespace_selector: of the labels of a namespace.
        pod_selector: of the labels of a pod (or of the pods that a workload makes).
        node_selector: of the labels of a node.
    """

    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector = _EVERYTHING
    pod_selector: LabelSelector = _EVERYTHING
    node_selector: LabelSelector = _EVERYTHING

    def covers_namespace(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether objects in a namespace may be in scope."""
        return (not self.namespaces or name in self.namespaces) and labels_match(self.namespace_selector, labels)

    def covers_pod(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels may be in scope, as far as the pod alone decides it."""
        return labels_match(self.pod_selector, labels)

    def covers_node(self, labels: Mapping[str, str]) -> bool:
        """Whether a node is in scope."""
        return labels_match(self.node_selector, labels)
