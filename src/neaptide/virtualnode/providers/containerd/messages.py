"""What CRI is told of a pod: its sandbox and its containers."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from neaptide.model.quantity import milli, value
from neaptide.virtualnode.cri import api_pb2 as api
from neaptide.virtualnode.provider import VirtualPod

OWNER, UID, NAME, NAMESPACE, CONTAINER = (
    "neaptide.io/pod-provider",
    "io.kubernetes.pod.uid",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.container.name",
)
"""Labels of sandboxes and containers; all but the first are a kubelet's own."""

_PERIOD = 100_000
_SMALLEST_QUOTA = 1_000
_SMALLEST_SHARES = 2
_HOSTNAME = 63
_BEST_EFFORT_SCORE = 1000
_MASKED: tuple[str, ...] = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
)
_MASKED += ("/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap")
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Mounted(NamedTuple):
    """A mount: the path in the container, the host's path, and whether it may be written."""

    container: str
    host: str
    read_only: bool


def labels(pod: VirtualPod, owner: str, container: str = "") -> dict[str, str]:
    """By which the provider knows its own."""
    found = {OWNER: owner, UID: pod.uid, NAME: pod.name, NAMESPACE: pod.namespace}
    return found | ({CONTAINER: container} if container else {})


def sandbox(pod: VirtualPod, *, owner: str, log_directory: str, cgroup_parent: str) -> Any:  # noqa: ANN401 - a message
    """A PodSandboxConfig."""
    spec = pod.spec
    dns = spec.get("dnsConfig") or {}
    options = [
        f"{each['name']}:{each['value']}" if each.get("value") else each["name"] for each in dns.get("options") or ()
    ]
    config = api.PodSandboxConfig(
        metadata=api.PodSandboxMetadata(name=pod.name, uid=pod.uid, namespace=pod.namespace, attempt=0),
        hostname=(spec.get("hostname") or pod.name)[:_HOSTNAME].rstrip("-."),
        log_directory=log_directory,
        labels=labels(pod, owner),
        linux=api.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent,
            security_context=api.LinuxSandboxSecurityContext(
                namespace_options=_namespaces(spec), seccomp=_seccomp(spec.get("securityContext") or {})
            ),
        ),
    )
    if dns:  # without it containerd gives the pod the host's resolv.conf
        config.dns_config.CopyFrom(
            api.DNSConfig(servers=dns.get("nameservers") or (), searches=dns.get("searches") or (), options=options)
        )
    return config


def container(
    pod: VirtualPod,
    spec: Mapping[str, Any],
    *,
    owner: str,
    attempt: int,
    image: str,
    environment: Mapping[str, str],
    command: Sequence[str],
    arguments: Sequence[str],
    mounts: Sequence[Mounted],
) -> Any:  # noqa: ANN401 - a message
    """A ContainerConfig; its log is `NAME/ATTEMPT.log` below the sandbox's directory."""
    name = spec["name"]
    return api.ContainerConfig(
        metadata=api.ContainerMetadata(name=name, attempt=attempt),
        image=api.ImageSpec(image=image, user_specified_image=spec.get("image") or ""),
        command=command,
        args=arguments,
        working_dir=spec.get("workingDir") or "",
        envs=[api.KeyValue(key=key, value=text.encode()) for key, text in environment.items()],
        mounts=[
            api.Mount(container_path=each.container, host_path=each.host, readonly=each.read_only) for each in mounts
        ],
        labels=labels(pod, owner, name),
        log_path=log_path(name, attempt),
        stdin=bool(spec.get("stdin")),
        stdin_once=bool(spec.get("stdinOnce")),
        tty=bool(spec.get("tty")),
        linux=api.LinuxContainerConfig(
            resources=resources(spec.get("resources") or {}), security_context=_security(pod, spec)
        ),
    )


def log_path(name: str, attempt: int) -> str:
    return os.path.join(name, f"{attempt}.log")  # noqa: PTH118 - of the host, and relative


def resources(asked: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a message
    """Limits and weights of a container's control group, as a kubelet sets them."""
    limits = asked.get("limits") or {}
    requests = {**limits, **(asked.get("requests") or {})}
    shares = max(_SMALLEST_SHARES, milli(requests["cpu"]) * 1024 // 1000) if "cpu" in requests else _SMALLEST_SHARES
    quota = max(_SMALLEST_QUOTA, milli(limits["cpu"]) * _PERIOD // 1000) if "cpu" in limits else 0
    return api.LinuxContainerResources(
        cpu_period=_PERIOD if quota else 0,
        cpu_quota=quota,
        cpu_shares=shares,
        memory_limit_in_bytes=value(limits["memory"]) if "memory" in limits else 0,
        oom_score_adj=_BEST_EFFORT_SCORE,  # the host's own processes outlive every pod
    )


def _security(pod: VirtualPod, spec: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a message
    of_pod, own = pod.spec.get("securityContext") or {}, spec.get("securityContext") or {}
    merged = {**of_pod, **{key: given for key, given in own.items() if given is not None}}
    capabilities = merged.get("capabilities") or {}
    found = api.LinuxContainerSecurityContext(
        namespace_options=_namespaces(pod.spec),
        readonly_rootfs=bool(merged.get("readOnlyRootFilesystem")),
        no_new_privs=merged.get("allowPrivilegeEscalation") is False,
        supplemental_groups=merged.get("supplementalGroups") or (),
        capabilities=api.Capability(
            add_capabilities=capabilities.get("add") or (), drop_capabilities=capabilities.get("drop") or ()
        ),
        masked_paths=_MASKED,
        readonly_paths=_READ_ONLY,
        seccomp=_seccomp(merged),
    )
    for field, key in (("run_as_user", "runAsUser"), ("run_as_group", "runAsGroup")):
        if merged.get(key) is not None:
            getattr(found, field).CopyFrom(api.Int64Value(value=merged[key]))
    return found


def _namespaces(spec: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a message
    shared = api.NamespaceMode.POD if spec.get("shareProcessNamespace") else api.NamespaceMode.CONTAINER
    return api.NamespaceOption(network=api.NamespaceMode.POD, pid=shared, ipc=api.NamespaceMode.POD)


def _seccomp(context: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a message
    kind = (context.get("seccompProfile") or {}).get("type", "Unconfined")
    profiles = api.SecurityProfile.ProfileType
    return api.SecurityProfile(
        profile_type=profiles.RuntimeDefault if kind == "RuntimeDefault" else profiles.Unconfined
    )
