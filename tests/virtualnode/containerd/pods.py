"""Pods and objects for tests of the provider containerd."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.images import BUSYBOX
from neaptide.virtualnode.provider import LogOptions, VirtualPod
from neaptide.virtualnode.providers.containerd.hosts import HostSpec
from neaptide.virtualnode.providers.containerd.objects import Token
from neaptide.virtualnode.providers.containerd.provider import Containerd, ContainerdSpec
from neaptide.virtualnode.states import Ended, PodState, Running

_numbers = count(1)
_WITHIN = 90.0


class GivenObjects:
    """Objects that a test puts there."""

    def __init__(self) -> None:
        self.secrets: dict[str, Mapping[str, bytes]] = {}
        self.config_maps: dict[str, Mapping[str, bytes]] = {}
        self.tokens = 0

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        del namespace
        return self.secrets.get(name)

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        del namespace
        return self.config_maps.get(name)

    async def token(self, pod: VirtualPod, audience: str, seconds: int) -> Token:
        self.tokens += 1
        return Token(f"token-{self.tokens}-for-{pod.name}-{audience}", time.time() + seconds)


def shell(name: str, script: str, **fields: Any) -> dict[str, Any]:
    """A container that runs a script."""
    return {"name": name, "image": BUSYBOX.name, "imagePullPolicy": "Never", "command": ["sh", "-c", script], **fields}


def pod(script: str = "true", *, containers: Sequence[Mapping[str, Any]] = (), **spec: Any) -> VirtualPod:
    """A pod with a container `main`, or those given, that no other test has."""
    number = next(_numbers)
    name, uid = f"pod-{number}", f"00000000-0000-4000-8000-{number:012d}"
    metadata = {"name": name, "namespace": "default", "uid": uid, "labels": {"app": "it"}}
    usual = {"restartPolicy": "Never", "nodeName": "virtual-1", "terminationGracePeriodSeconds": 5}
    found = {"containers": list(containers) or [shell("main", script)], **usual, **spec}
    return VirtualPod(uid, "default", name, {"metadata": metadata, "spec": found})


async def state_of(provider: Containerd, uid: str) -> PodState | None:
    return next((each for each in await provider.pods() if each.uid == uid), None)


async def until(provider: Containerd, uid: str, holds: Callable[[PodState], bool]) -> PodState:
    """A pod's state, once something holds of it."""

    due = asyncio.get_running_loop().time() + _WITHIN
    while True:
        found = await state_of(provider, uid)
        if found is not None and holds(found):
            return found
        assert asyncio.get_running_loop().time() < due, f"not within {_WITHIN:g} s; the pod is {found}"
        await asyncio.sleep(0.02)


def stopped(state: PodState) -> bool:
    return state.stopped


def running(state: PodState) -> bool:
    return all(isinstance(each.state, Running) for each in state.containers)


def alone(host: ContainerHost, owner: str, objects: GivenObjects | None = None, **fields: Any) -> Containerd:
    """A provider whose pool is one host, with a folder of its own there."""
    usual = {
        "endpoint": host.endpoint,
        "root": str(host.root),
        "state": f"/var/lib/{owner}",
        "cgroup_parent": host.cgroup_parent,
        "address": "198.51.100.7",
        "cpu": "64",
        "memory": "256Gi",
    }
    spec = HostSpec(name=f"host-{owner}", **{**usual, **fields})
    return Containerd(ContainerdSpec(hosts=(spec,), owner=owner), objects or GivenObjects())


async def said(provider: Containerd, uid: str, container: str = "main", **options: Any) -> str:
    """What a container has written."""
    found = [chunk async for chunk in provider.logs(uid, container, LogOptions(**options))]
    return b"".join(found).decode()


async def until_said(provider: Containerd, uid: str, word: str) -> str:
    """What `main` has written, once a word is in it."""
    written = ""
    async for chunk in provider.logs(uid, "main", LogOptions(follow=True)):
        written += chunk.decode()
        if word in written:
            return written
    raise AssertionError(f"it has ended without {word!r}: {written!r}")


def ends(state: PodState) -> dict[str, int]:
    """The exit codes of the containers that have ended."""
    return {each.name: each.state.exit_code for each in state.every() if isinstance(each.state, Ended)}
