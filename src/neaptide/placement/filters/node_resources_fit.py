"""Room for what a pod requests."""

from neaptide.model.columns import Bools
from neaptide.model.vocabulary import PODS
from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

FULL = "Too many pods"


class NodeResourcesFit(Filter, frozen=True, tag="NodeResourcesFit"):
    """A node must have free what the pod requests, of every resource it requests any of, and one more pod must be allowed.

    `ignored_resources` and `ignored_resource_groups` (the part of the name before the slash) name extended resources that
    are not looked at.
    """

    ignored_resources: tuple[str, ...] = ()
    ignored_resource_groups: tuple[str, ...] = ()

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        snapshot, rows = view.snapshot, view.nodes.rows
        found = {}
        for resource, name in enumerate(snapshot.resources):
            wanted = int(snapshot.shapes.request[resource, pod.cls.shape])
            if wanted and not self.ignores(name):
                free = snapshot.nodes.allocatable[resource, :rows] - snapshot.nodes.used[resource, :rows]
                found[FULL if resource == PODS else f"Insufficient {name}"] = free < wanted
        return found

    def ignores(self, resource: str) -> bool:
        """Whether a resource is not looked at."""
        group, slash, _ = resource.partition("/")
        return bool(slash) and (resource in self.ignored_resources or group in self.ignored_resource_groups)
