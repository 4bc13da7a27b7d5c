"""A command in a container of a pod, as `kubectl exec` has it run: over a web socket, until it ends.

Source of the protocol: Kubernetes' v5.channel.k8s.io. Each message begins with the number of its stream; the last one of stream 3 is a Status.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlencode

import aiohttp
import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import PODS

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_ERRORS, _STATUS = 2, 3
_SHOWN = 200


class CommandError(Exception):
    """It was not run, did not end well, or not in time."""


class _Status(Struct, frozen=True):
    status: str = ""
    message: str = ""


async def run(
    client: Client, pod: str, namespace: str, command: Sequence[str], *, container: str = "", seconds: float
) -> None:
    """Run a command in a container, the first where none is named, and wait for its end.

    Raises:
        CommandError: with what the server, or the command on its standard error, has said last.
    """
    server, headers, context = await client.access()
    asked = [("command", each) for each in command] + [("stdout", "true"), ("stderr", "true")]
    asked += [("container", container)] if container else []
    url = f"{server}{PODS.path(namespace, pod, 'exec')}?{urlencode(asked)}"
    try:
        async with asyncio.timeout(seconds), aiohttp.ClientSession(headers=headers) as session:
            connecting = session.ws_connect(url, protocols=_PROTOCOLS, ssl=context, proxy=client.cluster.proxy or None)
            async with connecting as socket:
                await _ended(socket)
    except TimeoutError as error:
        raise CommandError(f"{command[0]} did not end within {seconds:.0f} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise CommandError(f"{command[0]} was not run: {error}") from error


async def _ended(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Read until the status comes; raises CommandError where it is not Success."""
    complained = b""
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        stream, data = message.data[0], message.data[1:]
        if stream == _ERRORS:
            complained = (complained + data)[-_SHOWN:]
        elif stream == _STATUS:
            status = msgspec.json.decode(data, type=_Status)
            if status.status == "Success":
                return
            said = complained.decode(errors="replace").strip()
            raise CommandError(f"{status.message}{': ' if said else ''}{said}")
    raise CommandError("the connection ended before the command did")
