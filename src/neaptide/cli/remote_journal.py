"""The journals of controllers elsewhere, asked for over TLS with the user's own token."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from neaptide.cli.connection import Connection
from neaptide.cli.exits import UsageError, unacceptable
from neaptide.kube.decisions import Past
from neaptide.kube.journal_server import OBJECTS, PATH, spelt
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster, Tls
from neaptide.kubeapi.credentials import Credentials
from neaptide.kubeapi.errors import ApiError, ConfigError
from neaptide.model.actions import Ref


def ask(
    urls: Sequence[str], wanted: Collection[Ref], connection: Connection, authority: Path | None, token: Path | None
) -> list[Past]:
    """What each of them says of some objects. Raises UsageError.

    Args:
        urls: of controllers.
        wanted: the objects.
        connection: whose token is shown where no other is given.
        authority: a file with the certificates of who may answer; the system's where there is none.
        token: a file.
    """
    for url in urls:
        if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
            raise unacceptable("--controller", url, "https://host:port")
    credentials = Credentials(token_file=token) if token else _tokens(connection.cluster().credentials)
    clusters = [Cluster(url.rstrip("/"), tls=Tls(authority), credentials=credentials) for url in urls]
    return asyncio.run(_all(clusters, spelt(wanted)))


def _tokens(found: Credentials) -> Credentials:
    """Without certificates and passwords: a controller has the API server say who shows a token, and nothing else."""
    if not (found.token or found.token_file or found.plugin):
        raise UsageError(
            "the kubeconfig's user has no token to show to the controller; accepted: --controller-token FILE, with what "
            "`kubectl create token ACCOUNT` prints"
        )
    return Credentials(token=found.token, token_file=found.token_file, plugin=found.plugin)


async def _all(clusters: Sequence[Cluster], objects: str) -> list[Past]:
    return [await _one(cluster, objects) for cluster in clusters]


async def _one(cluster: Cluster, objects: str) -> Past:
    try:
        async with Client(cluster) as client:
            return msgspec.json.decode(await client.raw("GET", PATH, query={OBJECTS: objects}), type=Past)
    except (ApiError, ConfigError, OSError, TimeoutError) as error:
        raise UsageError(f"{cluster.server}: {error}") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{cluster.server}: it does not answer as a controller's journal does: {error}") from error
