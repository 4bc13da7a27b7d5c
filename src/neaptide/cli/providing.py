"""The flags of `neaptide run` that are about who sells nodes."""

from dataclasses import dataclass
from pathlib import Path

from neaptide.cli.exits import UsageError
from neaptide.cli.listening import address
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


@dataclass(frozen=True)
class NoticeFlags:
    """Where others say that a node ends."""

    notices: Path | None = None
    """a file to which they append a line of JSON for each node, as a bridge from a queue does."""
    notices_listen: str | None = None
    """host:port where they POST the same to /interruptions, as :9234."""
    notices_token_file: Path | None = None
    """with the bearer token that they have to send."""

    def endpoint(self) -> tuple[str, int, str] | None:
        """Host, port and token. Raises UsageError."""
        if self.notices_listen is None:
            return None
        if self.notices_token_file is None:
            raise UsageError("--notices-listen takes nothing without a token: --notices-token-file FILE has one")
        try:
            token = self.notices_token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--notices-token-file {self.notices_token_file}: {error}") from error
        if not token:
            raise UsageError(f"--notices-token-file {self.notices_token_file}: it is empty; accepted: a token")
        return (*address("--notices-listen", self.notices_listen), token)


DEFAULT_NOTICES = NoticeFlags()
DEFAULT_PROVIDER = ProviderFlags()
