"""The hosts that run pods: a pool apart from the cluster, which grows and shrinks while the provider runs.

A host is a container runtime behind a socket, and what is sold of it: its amounts need not be the machine's own. Pods are placed where they fit
most tightly, so that large holes stay for large pods. A host that is `draining` keeps its pods and gets no others.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from neaptide.model.objects import PodSpec
from neaptide.model.problems import FieldError
from neaptide.model.quantity import QuantityError, for_resource
from neaptide.model.requests import effective_requests
from neaptide.model.yaml_text import YamlError, documents
from neaptide.virtualnode.provider import OutOfStockError, ProviderError

COUNTED = ("cpu", "memory", "pods")


class HostSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One host.

    Attributes:
        name: of the host, in errors and in the state that is kept.
        endpoint: of the runtime's CRI, as `unix:///run/containerd/containerd.sock`.
        cpu, memory, pods: what is sold of it.
        root: where this process finds the host's file system.
        state: the folder on the host for pods, their volumes and logs; the provider's alone.
        cgroup_parent: the control group that the containers are made in.
        address: the host's IP, for pods that ask for it.
        draining: whether it gets no more pods.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]
    endpoint: str = "unix:///run/containerd/containerd.sock"
    cpu: str = "2"
    memory: str = "4Gi"
    pods: Annotated[int, Meta(ge=1, le=10_000)] = 110
    root: str = "/"
    state: str = "/var/lib/neaptide"
    cgroup_parent: str = "/neaptide"
    address: str = ""
    draining: bool = False

    def __post_init__(self) -> None:
        """Raises FieldError for an amount that is none."""
        for name in ("cpu", "memory"):
            try:
                for_resource(name, getattr(self, name))
            except QuantityError as error:
                raise FieldError(name, getattr(self, name), "a Kubernetes quantity such as 4 or 8Gi") from error

    @property
    def amounts(self) -> dict[str, int]:
        """By resource, in milli-CPU, bytes and counts."""
        return {"cpu": for_resource("cpu", self.cpu), "memory": for_resource("memory", self.memory), "pods": self.pods}

    def here(self, path: PurePosixPath) -> Path:
        """Where this process finds a path of the host."""
        return Path(self.root) / str(path).lstrip("/")


class _Pool(Struct, frozen=True, forbid_unknown_fields=True):
    hosts: tuple[HostSpec, ...] = ()


def parse_hosts(text: str, file: str) -> tuple[HostSpec, ...]:
    """The hosts of a YAML file.

    Raises:
        ProviderError: it is no list of hosts; the pool stays as it was.
    """
    try:
        found = documents(text)
        hosts = msgspec.convert(found[0] if found else {}, _Pool).hosts
    except (YamlError, msgspec.ValidationError, FieldError) as error:
        fields = ", ".join(field.encode_name for field in msgspec.structs.fields(HostSpec))
        raise ProviderError(f"{file}: {error}; accepted: hosts: a list with {fields}") from error
    names = [host.name for host in hosts]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ProviderError(f"{file}: hosts {', '.join(sorted(twice))} stand there twice; accepted: each name once")
    return hosts


def requests_of(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod asks for, the pod itself among it. Raises FieldError."""
    return {**effective_requests(msgspec.convert(spec, PodSpec)), "pods": 1}


def choose(hosts: Sequence[HostSpec], used: Mapping[str, Mapping[str, int]], asked: Mapping[str, int]) -> HostSpec:
    """The host that a pod fits on most tightly.

    Args:
        hosts: that answer.
        used: what the pods of each host ask for, by its name.
        asked: what the pod asks for.

    Raises:
        OutOfStockError: none has room; says whether any ever could.
    """
    fits = []
    for host in hosts:
        free = free_of(host, used)
        if not host.draining and all(free[name] >= asked.get(name, 0) for name in COUNTED):
            amounts = host.amounts
            fits.append(
                (max((free[name] - asked.get(name, 0)) / amounts[name] for name in COUNTED[:2]), host.name, host)
            )
    if fits:
        return min(fits, key=lambda each: each[:2])[2]
    wanted = f"{asked.get('cpu', 0)}m CPU and {asked.get('memory', 0)} bytes"
    if not hosts:
        raise OutOfStockError(f"no host of the pool answers; {wanted} are asked for")
    ever = any(all(host.amounts[name] >= asked.get(name, 0) for name in COUNTED) for host in hosts)
    raise OutOfStockError(f"no host has {wanted} free" + ("" if ever else ", and none is that large"))


def free_of(host: HostSpec, used: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """What a host has left."""
    taken = used.get(host.name, {})
    return {name: amount - taken.get(name, 0) for name, amount in host.amounts.items()}


def total(hosts: Iterable[HostSpec]) -> dict[str, int]:
    """What hosts have together."""
    found = dict.fromkeys(COUNTED, 0)
    for host in hosts:
        for name, amount in host.amounts.items():
            found[name] += amount
    return found
