"""Every pod provider, by the name that the taint of its nodes has. Its module is imported when it is asked for."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from neaptide.kubeapi.client import Client
from neaptide.model.problems import FieldError
from neaptide.virtualnode.provider import PodProvider


class Entry(NamedTuple):
    """A provider: its name, and where the function is that makes it from its settings and a client of this cluster.

    That function raises FieldError, or ProviderError, for settings that it does not accept.
    """

    name: str
    function: str


PROVIDERS = (
    Entry("containerd", "neaptide.virtualnode.providers.containerd.provider:make"),
    Entry("cluster", "neaptide.virtualnode.providers.cluster.provider:make"),
    Entry("simulated", "neaptide.virtualnode.providers.simulated:make"),
)


def make(name: str, settings: Mapping[str, Any], client: Client) -> PodProvider:
    """The provider of a name. Raises FieldError."""
    for each in PROVIDERS:
        if each.name == name:
            module, _, function = each.function.partition(":")
            made: Callable[[Mapping[str, Any], Client], PodProvider] = getattr(
                importlib.import_module(module), function
            )
            return made(settings, client)
    raise FieldError("provider", name, ", ".join(each.name for each in PROVIDERS))
