"""Which cluster a command speaks to, and a look at it."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from neaptide.cli.dump import Dump
from neaptide.cli.exits import UsageError
from neaptide.kube.listing import Listing, look
from neaptide.kube.logs import quiet
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster, find, load
from neaptide.kubeapi.errors import ApiError, ConfigError
from neaptide.model.build import build
from neaptide.model.manifests import Found, from_json
from neaptide.model.metrics import apply_node_metrics

Result = TypeVar("Result")


@dataclass(frozen=True)
class Connection:
    """Flags that every command with a cluster has."""

    kubeconfig: Path | None = None
    """by default as kubectl finds it; in a pod, its service account."""
    context: str | None = None
    """of the kubeconfig; by default the current one."""
    namespace: str | None = None
    """where to look for what may not be seen in all namespaces; by default the context's."""

    def cluster(self) -> Cluster:
        """The cluster and user meant. Raises UsageError."""
        try:
            found = find() if self.kubeconfig is None and self.context is None else load(self.kubeconfig, self.context)
        except ConfigError as error:
            raise UsageError(str(error)) from error
        return found if self.namespace is None else msgspec.structs.replace(found, namespace=self.namespace)


DEFAULT = Connection()


def speak(
    connection: Connection, ask: Callable[[Client], Coroutine[Any, Any, Result]], *, qps: float = 200.0
) -> Result:
    """What a conversation with the cluster gives, at so many requests a second. Raises UsageError where it cannot be had."""
    cluster = connection.cluster()
    quiet()

    async def conversation() -> Result:
        async with Client(cluster, qps=qps, burst=int(2 * qps)) as client:
            return await ask(client)

    try:
        return asyncio.run(conversation())
    except (ApiError, OSError, TimeoutError) as error:
        raise UsageError(f"{cluster.server}: {error}") from error


def listing(connection: Connection) -> Listing:
    """Everything that is read of a cluster, as it is now. Raises UsageError."""
    namespace = connection.cluster().namespace
    return speak(connection, lambda client: look(client, namespace))


def read_cluster(connection: Connection) -> tuple[Dump, list[str]]:
    """The cluster as a dump, and sentences on what could not be seen. Raises UsageError."""
    seen = listing(connection)
    found: list[Found] = []
    problems = []
    for resource, page in seen.pages:
        there, left_out = from_json(page, f"{resource.plural} of the cluster")
        found += there
        problems += left_out
    snapshot, unusable = build(found)
    now = time.time()
    unusable += apply_node_metrics(snapshot, now)
    times = snapshot.nodes.usage_time[snapshot.nodes.indices()]
    told = len(times) > 0 and not np.isnan(times).any()
    unseen = [*seen.unseen, *(() if told else seen.unmeasured)]
    return Dump(snapshot, problems + unusable, len(found), now, {}), unseen
