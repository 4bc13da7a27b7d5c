"""Where the API server is and who the client is: from a kubeconfig, or from inside a pod."""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from neaptide.kubeapi import kubeconfig, plugin
from neaptide.kubeapi.credentials import Credentials, Impersonation, Material
from neaptide.kubeapi.errors import ConfigError
from neaptide.kubeapi.kubeconfig import ClusterEntry, ContextEntry, Exec, Kubeconfig, Origin, UserEntry
from neaptide.kubeapi.proxies import checked, proxy_for
from neaptide.kubeapi.secret import Secret

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_EXTENSION = "client.authentication.k8s.io/exec"


class Tls(Struct, frozen=True):
    """How the server is known. `authorities` in PEM, None for the system's; `server_name` where it is not the URL's host."""

    authorities: Material | None = None
    server_name: str = ""
    insecure: bool = False


class Cluster(Struct, frozen=True):
    """One API server and how to speak to it.

    Attributes:
        server: its URL, with a path where it stands behind one.
        namespace: the context's, `default` where it names none.
        proxy: URL of an HTTP proxy, empty for none.
        compress: whether answers may be compressed, which is worth its time over slow lines.
    """

    server: str
    namespace: str = "default"
    tls: Tls = Tls()
    credentials: Credentials = Credentials()
    proxy: str = ""
    compress: bool = False


def find(environment: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT) -> Cluster:
    """In a pod with a service account its cluster, elsewhere the kubeconfig's. Raises ConfigError."""
    if environment.get("KUBERNETES_SERVICE_HOST") and (folder / "token").exists():
        return in_cluster(environment, folder)
    return load(environment=environment)


def in_cluster(environment: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT) -> Cluster:
    """The cluster of the pod that this process runs in; its token is read again as it changes. Raises ConfigError."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigError("not in a pod: KUBERNETES_SERVICE_HOST is not set")
    if not (folder / "token").exists():
        raise ConfigError(f"{folder / 'token'} is not there: does the pod mount its service account's token?")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    namespace = folder / "namespace"
    return Cluster(
        server,
        namespace.read_text().strip() if namespace.exists() else "default",
        Tls(folder / "ca.crt" if (folder / "ca.crt").exists() else None),
        Credentials(token_file=folder / "token"),
        proxy_for(server, environment),
    )


def load(
    path: Path | None = None, context: str | None = None, *, environment: Mapping[str, str] = os.environ
) -> Cluster:
    """The cluster and user of a context: of `path`, or of the files that kubectl would read. Raises ConfigError."""
    whole = kubeconfig.merged(kubeconfig.paths(path, environment))
    name = context or whole.current
    if not name:
        known = ", ".join(sorted(whole.contexts)) or "none"
        raise ConfigError(f"{whole.where}: no current-context, and none was asked for; there are: {known}")
    origin, chosen = whole.entry(ContextEntry, "contexts", name, whole.where)
    at, cluster = whole.entry(ClusterEntry, "clusters", chosen.cluster, origin.where)
    return Cluster(
        _server(at, cluster),
        chosen.namespace or "default",
        _tls(at, cluster),
        _credentials(whole, origin, chosen, cluster),
        checked(cluster.proxy_url, f"{at.where}.proxy-url")
        if cluster.proxy_url
        else proxy_for(cluster.server, environment),
        not cluster.disable_compression,
    )


def _server(at: Origin, cluster: ClusterEntry) -> str:
    server = cluster.server if "://" in cluster.server else f"http://{cluster.server}"
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{at.where}.server: {cluster.server!r} is not accepted; accepted: https://host:port")
    return server.rstrip("/")


def _tls(at: Origin, cluster: ClusterEntry) -> Tls:
    authorities = _material(
        at, "certificate-authority", cluster.certificate_authority, cluster.certificate_authority_data
    )
    if authorities and cluster.insecure_skip_tls_verify:
        raise ConfigError(f"{at.where}: certificate-authority and insecure-skip-tls-verify exclude each other")
    return Tls(authorities, cluster.tls_server_name, cluster.insecure_skip_tls_verify)


def _credentials(whole: Kubeconfig, origin: Origin, chosen: ContextEntry, cluster: ClusterEntry) -> Credentials:
    if not chosen.user:
        return Credentials()
    at, user = whole.entry(UserEntry, "users", chosen.user, origin.where)
    if user.auth_provider:
        raise ConfigError(f"{at.where}.auth-provider: Kubernetes 1.26 removed it; accepted: exec")
    certificate = _material(at, "client-certificate", user.client_certificate, user.client_certificate_data)
    key = _material(at, "client-key", user.client_key, user.client_key_data)
    if bool(certificate) != bool(key):
        raise ConfigError(f"{at.where}: client-certificate and client-key are wanted together")
    return Credentials(
        certificate,
        key,
        at.folder / user.token_file if user.token_file else None,
        Secret(user.token.encode()) if user.token else None,
        user.username,
        Secret(user.password.encode()),
        _plugin(at, user.exec, cluster) if user.exec else None,
        Impersonation(
            user.impersonate,
            user.impersonate_uid,
            tuple(user.impersonate_groups or ()),
            {name: tuple(values) for name, values in (user.impersonate_extra or {}).items()},
        ),
    )


def _material(at: Origin, field: str, file: str, data: str) -> Material | None:
    """Contents where they are given, else the file. Raises ConfigError."""
    if not data:
        return at.folder / file if file else None
    try:
        return Secret(base64.b64decode("".join(data.split()), validate=True))
    except binascii.Error as error:
        raise ConfigError(f"{at.where}.{field}-data: base64 is accepted: {error}") from None


def _plugin(at: Origin, told: Exec, cluster: ClusterEntry) -> plugin.Plugin:
    where = f"{at.where}.exec"
    plugin.check_version(where, told.api_version)
    if told.interactive_mode is None and told.api_version.endswith("/v1"):
        raise ConfigError(f"{where}.interactiveMode: it must be one of Never, IfAvailable, Always")
    return plugin.Plugin(
        where,
        told.api_version,
        told.command,
        tuple(told.args or ()),
        {each.name: each.value for each in told.env or ()},
        told.interactive_mode or "IfAvailable",
        told.install_hint,
        at.folder,
        _information(cluster) if told.provide_cluster_info else None,
    )


def _information(cluster: ClusterEntry) -> dict[str, Any]:
    """What a plugin is told of the cluster: `spec.cluster` of an ExecCredential."""
    told: dict[str, Any] = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": cluster.certificate_authority_data,
        "proxy-url": cluster.proxy_url,
        "disable-compression": cluster.disable_compression,
    }
    extensions = (each for each in cluster.extensions or () if each.get("name") == _EXTENSION)
    told["config"] = next((each.get("extension") for each in extensions), None)
    return {key: value for key, value in told.items() if value}
