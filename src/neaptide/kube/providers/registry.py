"""Every cloud that can make nodes here, by the name that `--provider` gives it."""

from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from neaptide.kube.providers.karpenter import Karpenter, KarpenterSettings
from neaptide.kube.providers.kwok import Kwok
from neaptide.kube.providers.kwok_settings import KwokSettings
from neaptide.kubeapi.client import Client
from neaptide.model.problems import FieldError
from neaptide.model.protocols import RemoteCloudProvider
from neaptide.placement.profile import read_as
from neaptide.pricing.catalogue import Catalogue


class Provider(RemoteCloudProvider, Protocol):
    """A cloud as the controller holds it: `close` ends what it has under way."""

    async def close(self) -> None: ...


class Make(Protocol):
    """Makes a cloud. Raises FieldError where its settings and the catalogue do not fit."""

    def __call__(self, client: Client, settings: Any, catalogue: Catalogue, *, dry_run: bool) -> Provider: ...  # noqa: ANN401 - each has its own


class Known(NamedTuple):
    """A kind of cloud: the type of its settings, and how it is made."""

    settings_type: type[Any]
    make: Make


def _kwok(client: Client, settings: KwokSettings, catalogue: Catalogue, *, dry_run: bool) -> Provider:
    return Kwok(client, settings, catalogue, dry_run=dry_run)


def _karpenter(client: Client, settings: KarpenterSettings, catalogue: Catalogue, *, dry_run: bool) -> Provider:
    return Karpenter(client, settings, catalogue, dry_run=dry_run)


PROVIDERS: dict[str, Known] = {
    "karpenter": Known(KarpenterSettings, _karpenter),
    "kwok": Known(KwokSettings, _kwok),
}


class Providing(Struct, frozen=True):
    """Which cloud, and its settings."""

    name: str
    settings: Any

    def opened(self, client: Client, catalogue: Catalogue, *, dry_run: bool) -> Provider:
        """The cloud. Raises FieldError."""
        return PROVIDERS[self.name].make(client, self.settings, catalogue, dry_run=dry_run)


def read_providing(name: str, text: str | None) -> Providing:
    """A cloud by its name, with the settings of a YAML text, or its defaults. Raises FieldError."""
    if name not in PROVIDERS:
        raise FieldError("--provider", name, "one of " + ", ".join(PROVIDERS))
    kind = PROVIDERS[name].settings_type
    return Providing(name, kind() if text is None else read_as(kind, text))
