"""What a filter is."""

from msgspec import Struct

from neaptide.model.columns import Bools
from neaptide.placement.view import Pod, View


class Filter(Struct, frozen=True, rename="camel", tag_field="name", forbid_unknown_fields=True):
    """A rule that says which nodes cannot take a pod, and why in kube-scheduler's words. Fields are its parameters."""

    @property
    def name(self) -> str:
        """As profiles name it."""
        return str(self.__struct_config__.tag)

    def refusal(self, view: View, pod: Pod) -> str | None:
        """Why no node at all can take the pod; None where that depends on the node."""
        del view, pod
        return None

    def named(self, view: View, pod: Pod) -> frozenset[str] | None:
        """The names of the only nodes to look at; None for all."""
        del view, pod
        return None

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        """By reason, bool[nodes]: the nodes that cannot take the pod for that reason. A node may have several."""
        del view, pod
        return {}
