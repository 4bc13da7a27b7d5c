"""The settings of the provider."""

from typing import Annotated

from msgspec import Meta, Struct


class ClusterSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How the other cluster is used.

    Attributes:
        owner: the label of what is made there; another for each cluster that sends pods to it.
        namespace: where all pods go there; by default each to the namespace of its own name with the prefix.
        namespace_prefix: of the namespaces there; they are made where they are not there.
        service_accounts: whether a pod's ServiceAccount is made there, by its name and without rights; else pods run without one.
        refresh_seconds: how often what pods refer to is brought in line with the objects here.
        rate, burst: pods created a second in the long run, and at once.
        kubeconfig: the file with the other cluster, for the command line; context: which of its contexts.
    """

    owner: str = "neaptide"
    namespace: str = ""
    namespace_prefix: str = ""
    service_accounts: bool = True
    refresh_seconds: Annotated[float, Meta(gt=0)] = 60.0
    rate: float = 20.0
    burst: int = 100
    kubeconfig: str = ""
    context: str = ""

    def namespace_of(self, namespace: str) -> str:
        """The namespace there of pods of a namespace here."""
        return self.namespace or f"{self.namespace_prefix}{namespace}"
