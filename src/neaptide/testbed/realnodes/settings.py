"""What containerd, its network plugins and the kubelet of a node are told."""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from neaptide.testbed.realnodes.host import Host
from neaptide.testbed.realnodes.images import PAUSE
from neaptide.testbed.realnodes.network import Subnet, address

KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
REGISTRIES = "/run/certs.d"
"""Where containerd looks for who stands in for a registry, each in a folder of its name."""

LABEL = "neaptide.io/real-node"


class NodeShape(Struct, frozen=True, kw_only=True):
    """What a node is like.

    Attributes:
        cpus: those of the machine that the node has, as in 0-1,3; all where it is empty.
        reserved: what of the machine's resources is not for the node's pods (systemReserved), as Kubernetes writes quantities.
        labels: besides `neaptide.io/real-node: "true"`.
        kubelet: fields of KubeletConfiguration that are to be otherwise.
    """

    cpus: str = ""
    reserved: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    kubelet: Mapping[str, Any] = {}


def containerd(host: Host) -> str:
    """Its config.toml; version 2, which containerd 1.6 and 2.x read."""
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE.name}"
  disable_apparmor = true
  restrict_oom_score_adj = {json.dumps(not host.may_lower_oom_score)}
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{REGISTRIES}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{host.plugins}"
    conf_dir = "/run/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter(host)}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{host.programs["runc"]}"
        SystemdCgroup = false
"""


def snapshotter(host: Host) -> str:
    """What gives containers their root file systems: overlayfs, or copies of all layers where the kernel has none."""
    return "overlayfs" if host.overlay else "native"


def pod_network(bridge: str, subnet: Subnet) -> str:
    """The CNI configuration: addresses of the node's subnet, no translation of addresses."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": str(subnet), "gateway": address(subnet)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugin = {"type": "bridge", "bridge": bridge, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return json.dumps({"cniVersion": "0.4.0", "name": "testbed", "plugins": [plugin]}, indent=2)


def kubelet(host: Host, shape: NodeShape, *, cgroup: str, node_ip: str) -> str:
    """Its KubeletConfiguration; paths are those in the node's mount namespace."""
    never = dict.fromkeys(
        ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%"
    )
    pki = "/var/lib/kubelet/pki"
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node_ip,
        "port": KUBELET_PORT,
        "healthzBindAddress": node_ip,
        "healthzPort": KUBELET_HEALTH_PORT,
        "readOnlyPort": 0,
        "tlsCertFile": f"{pki}/node.crt",
        "tlsPrivateKeyFile": f"{pki}/node.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "evictionHard": never,  # the disk and the memory are not the node's own
        "imageGCHighThresholdPercent": 100,
        "oomScoreAdj": -999 if host.may_lower_oom_score else 0,
        "systemReserved": dict(shape.reserved),
        "shutdownGracePeriod": "0s",
        **shape.kubelet,
    }
    return json.dumps(settings, indent=2)
