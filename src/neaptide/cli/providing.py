"""The flags of `neaptide run` that are about who sells nodes."""

from dataclasses import dataclass
from pathlib import Path

from neaptide.cli.exits import UsageError
from neaptide.kube.providers.kwok_settings import KwokSettings, sold
from neaptide.kube.providers.registry import Providing, read_providing
from neaptide.model.problems import FieldError
from neaptide.pricing.catalogue import Catalogue


@dataclass(frozen=True)
class ProviderFlags:
    """Who makes nodes, and gives them back."""

    provider: str = ""
    """of nodes: kwok, whose machines the kwok controller plays."""
    provider_settings: Path | None = None
    """a YAML file: what the provider sells, in which pools, how fast and how reliably."""

    def providing(self, catalogue: Catalogue) -> Providing | None:
        """What they say; None for no provider. Raises UsageError."""
        if not self.provider:
            if self.provider_settings is not None:
                raise UsageError("--provider-settings is about a provider: --provider names one")
            return None
        try:
            text = None if self.provider_settings is None else self.provider_settings.read_text(encoding="utf-8")
            found = read_providing(self.provider, text)
            if isinstance(found.settings, KwokSettings):
                sold(catalogue, found.settings)
        except (OSError, UnicodeDecodeError, FieldError) as error:
            raise UsageError(f"--provider-settings {self.provider_settings}: {error}") from error
        return found


DEFAULT_PROVIDER = ProviderFlags()
