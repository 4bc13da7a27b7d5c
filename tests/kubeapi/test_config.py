"""What a kubeconfig and a pod's service account mean."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from neaptide.kubeapi.config import Cluster, Tls, find, in_cluster, load
from neaptide.kubeapi.credentials import Credentials, Impersonation
from neaptide.kubeapi.errors import ConfigError
from neaptide.kubeapi.secret import Secret

PEM = b"-----BEGIN CERTIFICATE-----"
DATA = base64.b64encode(PEM).decode()


def written(
    file: Path,
    *,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    name: str = "one",
    current: str | None = "one",
    **fields: Any,
) -> Path:
    """A kubeconfig with one cluster, user and context, all of one name."""
    content = {
        "clusters": [{"name": name, "cluster": {"server": "https://example.com:6443"} | (cluster or {})}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "team"}}],
        "current-context": current,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.yaml.encode(content | fields))
    return file


def test_a_context_gives_server_namespace_and_credentials(tmp_path: Path) -> None:
    user = {"client-certificate-data": DATA, "client-key-data": DATA, "as": "robot", "as-groups": ["a", "b"]}
    found = load(written(tmp_path / "config", user=user), environment={})
    assert found == Cluster(
        "https://example.com:6443",
        "team",
        Tls(),
        Credentials(Secret(PEM), Secret(PEM), impersonation=Impersonation("robot", "", ("a", "b"))),
        compress=True,
    )


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    user = {"client-certificate": "a.crt", "client-key": "/b.key", "tokenFile": "deep/token"}
    file = written(tmp_path / "there" / "config", user=user, cluster={"certificate-authority": "ca.crt"})
    found = load(file, environment={})
    assert found.tls.authorities == tmp_path / "there" / "ca.crt"
    assert found.credentials.certificate == tmp_path / "there" / "a.crt"
    assert found.credentials.key == Path("/b.key")
    assert found.credentials.token_file == tmp_path / "there" / "deep" / "token"


def test_of_several_files_the_first_that_names_something_wins(tmp_path: Path) -> None:
    first = written(tmp_path / "a" / "config", cluster={"server": "https://first"}, current=None)
    second = written(tmp_path / "b" / "config", cluster={"server": "https://second"})
    third = written(tmp_path / "c" / "config", cluster={"server": "https://third"}, name="three", current="three")
    environment = {"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}:{third}"}
    assert load(environment=environment).server == "https://first"
    assert load(environment=environment, context="three").server == "https://third"


def test_without_any_word_the_file_in_the_home_is_read(tmp_path: Path) -> None:
    written(tmp_path / ".kube" / "config")
    assert load(environment={"HOME": str(tmp_path)}).server == "https://example.com:6443"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"current": None}, "no current-context, and none was asked for; there are: one"),
        ({"current": "other"}, "contexts has no 'other'; there are: one"),
        ({"cluster": {"server": "ftp://x"}}, "clusters[one].server: 'ftp://x' is not accepted; accepted: https://"),
        ({"cluster": {"server": 7}}, "clusters[one]: Expected `str`, got `int` - at `$.server`"),
        ({"cluster": {"certificate-authority-data": "%"}}, "certificate-authority-data: base64 is accepted"),
        (
            {"cluster": {"certificate-authority": "x", "insecure-skip-tls-verify": True}},
            "certificate-authority and insecure-skip-tls-verify exclude each other",
        ),
        ({"cluster": {"proxy-url": "socks5://u:secret@x:1"}}, "proxy-url: socks5://x is not accepted; accepted: http://"),
        ({"user": {"client-certificate": "x"}}, "client-certificate and client-key are wanted together"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "users[one].auth-provider: Kubernetes 1.26 removed it"),
        ({"user": {"exec": {"apiVersion": "v0", "command": "x"}}}, "exec.apiVersion: 'v0' is not accepted"),
        (
            {"user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x"}}},
            "exec.interactiveMode: it must be one of Never, IfAvailable, Always",
        ),
        ({"users": None}, "users has no 'one'; there are: none"),
        ({"users": {"a": 1}}, "users: a list is accepted, not dict"),
        ({"clusters": ["x"]}, "clusters[0]: an entry with a name is accepted, not 'x'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_what_is_accepted(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(written(tmp_path / "config", **fields), environment={})
    assert str(tmp_path / "config") in str(raised.value) or "proxy" in says
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [", "is no YAML"), ("[]", "current-context"), ("- a", "a kubeconfig is a mapping, not list"), ("", "current-context")],
)  # fmt: skip
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(ConfigError, match=says) as raised:
        load(tmp_path / "config", environment={})
    assert str(tmp_path / "config") in str(raised.value)


def test_no_file_at_all_is_an_error_that_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/.kube/config is not there"):
        load(environment={"HOME": str(tmp_path)})


def test_a_name_that_looks_like_a_date_is_a_name(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        "clusters: [{name: 2026-11-22, cluster: {server: 'https://x'}}]\n"
        "contexts: [{name: 2026-11-22, context: {cluster: 2026-11-22}}]\ncurrent-context: 2026-11-22\n"
    )
    assert load(file, environment={}).server == "https://x"


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    user = {
        "token": "hush",
        "username": "me",
        "password": "hush",
        "client-certificate-data": DATA,
        "client-key-data": DATA,
    }
    shown = repr(load(written(tmp_path / "config", user=user), environment={}))
    assert "hush" not in shown
    assert "BEGIN" not in shown


def test_in_a_pod_the_service_account_is_used(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    for name, content in (("token", "hush"), ("ca.crt", "pem"), ("namespace", "team\n")):
        (tmp_path / name).write_text(content)
    found = in_cluster(environment, tmp_path)
    assert found == find(environment, tmp_path)
    assert (found.server, found.namespace) == ("https://10.0.0.1:6443", "team")
    assert found.credentials == Credentials(token_file=tmp_path / "token")
    assert (
        in_cluster({**environment, "KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).server == "https://[fd00::1]:6443"
    )


def test_outside_of_a_pod_the_kubeconfig_is_used(tmp_path: Path) -> None:
    file = written(tmp_path / "config")
    assert find({"KUBECONFIG": str(file)}, tmp_path).server == "https://example.com:6443"
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST is not set"):
        in_cluster({}, tmp_path)


@pytest.mark.parametrize(
    ("server", "environment", "proxy"),
    [
        ("https://a.example.com", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example.com", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://a.example.com", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://a.example.com", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x.com, example.com"}, ""),
        ("https://example.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example.com"}, "http://p:1"),
        ("https://notexample.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, "http://p:1"),
        ("https://a.example.com:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com:6443"}, ""),
        ("https://a.example.com:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com:443"}, "http://p:1"),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, ""),
        ("https://11.1.2.3", {"HTTPS_PROXY": "http://p:1", "no_proxy": "10.0.0.0/8"}, "http://p:1"),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::1"}, ""),
        ("https://a", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, ""),
        ("https://localhost:1", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://127.0.0.1:1", {"HTTPS_PROXY": "http://p:1"}, ""),
    ],
)
def test_the_environment_says_which_proxy_is_used(
    tmp_path: Path, server: str, environment: dict[str, str], proxy: str
) -> None:
    file = written(tmp_path / "config", cluster={"server": server})
    assert load(file, environment=environment).proxy == proxy


def test_the_kubeconfigs_proxy_comes_before_the_environments(tmp_path: Path) -> None:
    file = written(tmp_path / "config", cluster={"proxy-url": "https://q:2", "tls-server-name": "inside"})
    found = load(file, environment={"HTTPS_PROXY": "http://p:1"})
    assert found.proxy == "https://q:2"
    assert found.tls.server_name == "inside"
