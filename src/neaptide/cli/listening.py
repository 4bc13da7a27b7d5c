"""The flags of `neaptide run` that open ports, and the addresses in them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neaptide.cli.exits import unacceptable

if TYPE_CHECKING:
    from neaptide.kube.admission import Place
    from neaptide.kube.journal_server import JournalPlace

_LISTEN = re.compile(r"(?P<host>[^:]*|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class JournalFlags:
    """Where the journal is, and where it can be read."""

    journal: Path | None = None
    """the directory of the journal, for `neaptide explain --journal`."""
    journal_listen: str | None = None
    """host:port to serve the journal at to who may get /journal, for `neaptide explain --controller`, as 127.0.0.1:9444."""

    def place(self, namespace: str) -> "JournalPlace | None":
        """Where it is served; None for nowhere. Raises UsageError."""
        if self.journal_listen is None:
            return None
        from neaptide.kube.journal_server import JournalPlace

        host, port = address("--journal-listen", self.journal_listen)
        return JournalPlace(namespace=namespace, host=host, port=port)


@dataclass(frozen=True)
class WebhookFlags:
    """Where new pods are reviewed, and who is to ask there."""

    webhook: str | None = None
    """host:port to answer reviews of new pods at, as :9443."""
    webhook_service: str = "neaptide-webhook"
    """the Service through which the API server asks; its certificate is in the Secret of that name with -tls."""
    webhook_configuration: str = "neaptide"
    """the MutatingWebhookConfiguration that is to trust it."""

    def place(self, namespace: str) -> "Place | None":
        """Where reviews are answered; None for nowhere. Raises UsageError."""
        if self.webhook is None:
            return None
        from neaptide.kube.admission import Place

        host, port = address("--webhook", self.webhook)
        service = self.webhook_service
        return Place(
            namespace=namespace,
            service=service,
            secret=f"{service}-tls",
            configuration=self.webhook_configuration,
            host=host,
            port=port,
        )


DEFAULT_JOURNAL, DEFAULT_WEBHOOK = JournalFlags(), WebhookFlags()


def address(flag: str, text: str) -> tuple[str, int]:
    """Host and port of `host:port`, every address where no host is said. Raises UsageError."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise unacceptable(flag, text, "host:port, as :8080 or 127.0.0.1:8080")
    return match["host"].strip("[]") or "0.0.0.0", int(match["port"])  # noqa: S104 - kubelets and Prometheus come from outside the pod
