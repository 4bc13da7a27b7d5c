"""The components of a control plane: how each is started, where it says that it is ready, and as whom it calls the API."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neaptide.testbed.errors import TestbedError

PEER = "etcd-peer"
"""The name of etcd's second port."""


class Site(NamedTuple):
    """Where a control plane lives: its directory, its programs, and its ports by component."""

    directory: Path
    programs: Path
    ports: dict[str, int]

    def pki(self, name: str) -> str:
        return str(self.directory / "pki" / name)

    def kubeconfig(self, name: str) -> str:
        return str(self.directory / f"{name}.kubeconfig")

    def address(self, name: str) -> str:
        return f"https://127.0.0.1:{self.ports[name]}"


Flags = dict[str, str | int]


class Component(NamedTuple):
    """One component.

    Attributes:
        flags: on its command line.
        authority, client: files of the PKI with which its readiness is asked; no authority: in plain HTTP.
        ready: the path that answers 200 when it is ready.
        user: the certificate with which it calls the API; the name of its kubeconfig too.
    """

    name: str
    flags: Callable[[Site], Flags]
    ready: str = "/readyz"
    authority: str = "ca"
    client: str = "admin"
    user: str = ""


def _etcd(site: Site) -> Flags:
    peer = site.address(PEER)
    return {
        "name": "testbed",
        "data-dir": str(site.directory / "etcd"),
        "listen-client-urls": site.address("etcd"),
        "advertise-client-urls": site.address("etcd"),
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"testbed={peer}",
        "client-cert-auth": "true",
        "trusted-ca-file": site.pki("etcd-ca.crt"),
        "cert-file": site.pki("etcd.crt"),
        "key-file": site.pki("etcd.key"),
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": site.pki("etcd-ca.crt"),
        "peer-cert-file": site.pki("etcd.crt"),
        "peer-key-file": site.pki("etcd.key"),
        "unsafe-no-fsync": "true",  # what a killed process wrote stays; only a power cut would lose it
        "quota-backend-bytes": 8 * 2**30,
        "log-level": "warn",
    }


def _api_server(site: Site) -> Flags:
    return {
        **_serving(site, "kube-apiserver", "apiserver"),
        "advertise-address": "127.0.0.1",
        "endpoint-reconciler-type": "none",  # which would refuse a loopback address
        "etcd-servers": site.address("etcd"),
        "etcd-cafile": site.pki("etcd-ca.crt"),
        "etcd-certfile": site.pki("apiserver-etcd-client.crt"),
        "etcd-keyfile": site.pki("apiserver-etcd-client.key"),
        "client-ca-file": site.pki("ca.crt"),
        "requestheader-client-ca-file": site.pki("front-proxy-ca.crt"),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": site.pki("front-proxy-client.crt"),
        "proxy-client-key-file": site.pki("front-proxy-client.key"),
        "kubelet-client-certificate": site.pki("apiserver-kubelet-client.crt"),
        "kubelet-client-key": site.pki("apiserver-kubelet-client.key"),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": site.pki("service-account.pub"),
        "service-account-signing-key-file": site.pki("service-account.key"),
        "service-cluster-ip-range": "10.96.0.0/16",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "audit-policy-file": str(site.directory / "audit-policy.yaml"),
        "audit-log-path": str(site.directory / "logs" / "audit.log"),
        "audit-log-maxsize": 200,
        "audit-log-maxbackup": 2,
        "max-requests-inflight": 3000,
        "max-mutating-requests-inflight": 1500,
    }


def _controller_manager(site: Site) -> Flags:
    name = "kube-controller-manager"
    return {
        **_serving(site, name, "controller-manager"),
        **_calling(site, "controller-manager"),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": site.pki("service-account.key"),
        "root-ca-file": site.pki("ca.crt"),
        "cluster-signing-cert-file": site.pki("ca.crt"),
        "cluster-signing-key-file": site.pki("ca.key"),
        "allocate-node-cidrs": "true",
        "cluster-cidr": "10.128.0.0/9",  # a /24 for each of 32,768 nodes
        "leader-elect": "false",
        "controllers": "*,-ttl-controller",  # which writes to each node how long kubelets may cache secrets
        "kube-api-qps": 500,
        "kube-api-burst": 1000,
        "concurrent-deployment-syncs": 20,
        "concurrent-replicaset-syncs": 20,
    }


def _scheduler(site: Site) -> Flags:
    return {
        **_serving(site, "kube-scheduler", "scheduler"),
        **_calling(site, "scheduler"),
        "leader-elect": "false",
        "kube-api-qps": 5000,
        "kube-api-burst": 5000,
    }


def _kwok(site: Site) -> Flags:
    stages = sorted(
        str(file) for file in (site.programs / "stages").glob("*.yaml") if file.stem != "pod-complete"
    )  # kwok.yaml has its own
    return {
        "kubeconfig": site.kubeconfig("kwok"),
        "config": ",".join([str(site.directory / "kwok.yaml"), *stages]),
        "manage-all-nodes": "false",
        "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake",
        "node-lease-duration-seconds": 80,  # renewed every 20 s, within the grace of 50 s and at half a kubelet's cost
        "node-ip": "10.0.0.1",
        "v": "warn",
        "server-address": f"127.0.0.1:{site.ports['kwok']}",
    }


def _serving(site: Site, component: str, certificate: str) -> Flags:
    return {
        "bind-address": "127.0.0.1",
        "secure-port": site.ports[component],
        "tls-cert-file": site.pki(f"{certificate}.crt"),
        "tls-private-key-file": site.pki(f"{certificate}.key"),
    }


def _calling(site: Site, user: str) -> Flags:
    kubeconfig = site.kubeconfig(user)
    return dict.fromkeys(("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"), kubeconfig)


START_ORDER = (
    (Component("etcd", _etcd, authority="etcd-ca", client="apiserver-etcd-client"),),
    (Component("kube-apiserver", _api_server),),
    (
        Component("kube-controller-manager", _controller_manager, ready="/healthz", user="controller-manager"),
        Component("kube-scheduler", _scheduler, user="scheduler"),
        Component("kwok", _kwok, authority="", user="kwok"),
    ),
)
"""Groups that start one after the other, and end the other way round; within a group all at once."""

COMPONENTS = tuple(component for group in START_ORDER for component in group)


def component_named(name: str) -> Component:
    """The component of that name.

    Raises:
        TestbedError: there is none.
    """
    for component in COMPONENTS:
        if component.name == name:
            return component
    accepted = ", ".join(component.name for component in COMPONENTS)
    raise TestbedError(f"component: {name!r} is not accepted; accepted: {accepted}")


def command_line(component: Component, site: Site) -> list[str]:
    """The component's program and its flags."""
    flags = (f"--{name}={value}" for name, value in component.flags(site).items())
    return [str(site.programs / component.name), *flags]
