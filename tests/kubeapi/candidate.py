"""A replica: `python -m tests.kubeapi.candidate KUBECONFIG NAMESPACE IDENTITY` seeks the lease and, while it leads, makes ConfigMaps named after itself."""

import asyncio
import contextlib
import sys
from itertools import count
from pathlib import Path

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.lease import Election
from neaptide.kubeapi.resources import CONFIG_MAPS


async def lead(kubeconfig: Path, namespace: str, identity: str) -> None:
    async with Client(load(kubeconfig)) as client:
        election = Election(client, "leader", namespace, identity, duration=6, renew=4, retry=0.3)
        seeking = asyncio.create_task(election.run())
        guarded = client.guarded_by(election)
        for number in count():
            await election.won()
            with contextlib.suppress(errors.LeaseLost):
                await guarded.create(CONFIG_MAPS, {"metadata": {"name": f"{identity}-{number:06d}"}}, namespace)
            await asyncio.sleep(0.02)
        await seeking


if __name__ == "__main__":
    asyncio.run(lead(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
