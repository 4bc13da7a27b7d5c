"""Programs that give credentials: `client.authentication.k8s.io/v1` and `v1beta1`."""

import asyncio
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from neaptide.kubeapi.errors import ConfigError
from neaptide.kubeapi.secret import Secret

_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_PATIENCE = 60.0
"""Seconds for a program that nobody can type at; a person at a terminal is waited for."""
_SHOWN = 500

Interactive = Literal["Never", "IfAvailable", "Always"]


class Plugin(Struct, frozen=True):
    """What a kubeconfig says under `exec`. `cluster` is what the program is told of the cluster, where it asks for it."""

    where: str
    api_version: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    interactive: Interactive = "IfAvailable"
    install_hint: str = ""
    folder: Path = Path()
    cluster: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Plugin {self.command} of {self.where}>"


class Answer(Struct, frozen=True):
    """What a program gave; `expires` in epoch seconds, infinite where it does not say."""

    token: Secret = Secret()
    certificate: bytes = b""
    key: Secret = Secret()
    expires: float = float("inf")


class _Status(Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _Credential(Struct, rename="camel"):
    api_version: str
    kind: str
    status: _Status | None = None


async def ask(plugin: Plugin) -> Answer:
    """Run the program and read its answer. Raises ConfigError, which shows what it wrote on stderr and never its answer."""
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive == "Always" and not terminal:
        raise ConfigError(
            f"{plugin.where}: {plugin.command} wants a terminal (interactiveMode: Always), and there is none"
        )
    interactive = terminal and plugin.interactive != "Never"
    try:
        process = await asyncio.create_subprocess_exec(
            _program(plugin),
            *plugin.arguments,
            env={
                **os.environ,
                **plugin.environment,
                "KUBERNETES_EXEC_INFO": _information(plugin, interactive=interactive),
            },
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if interactive else subprocess.PIPE,
        )
    except OSError as error:
        raise ConfigError(f"{plugin.where}: {plugin.command} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(None if interactive else _PATIENCE):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise ConfigError(f"{plugin.where}: {plugin.command} gave no answer within {_PATIENCE:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = (err or b"").decode(errors="replace").strip()[-_SHOWN:]
        raise ConfigError(
            f"{plugin.where}: {plugin.command} ended with {process.returncode}: {said or 'it said nothing'}"
        )
    return _answer(plugin, out)


def _program(plugin: Plugin) -> str:
    """A name is looked for in PATH; a path is relative to its kubeconfig."""
    path = str(plugin.folder / plugin.command) if os.sep in plugin.command else plugin.command
    found = shutil.which(path, path=plugin.environment.get("PATH"))
    if found is None:
        hint = f"; {plugin.install_hint.strip()}" if plugin.install_hint else ""
        raise ConfigError(f"{plugin.where}: the program {path} was not found, or is not executable{hint}")
    return found


def _information(plugin: Plugin, *, interactive: bool) -> str:
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.cluster is not None:
        spec["cluster"] = plugin.cluster
    return msgspec.json.encode({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}).decode()


def _answer(plugin: Plugin, out: bytes) -> Answer:
    try:
        found = msgspec.json.decode(out, type=_Credential)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{plugin.where}: {plugin.command} gave no ExecCredential: {error}") from None
    if (found.api_version, found.kind) != (plugin.api_version, "ExecCredential"):
        raise ConfigError(
            f"{plugin.where}: {plugin.command} gave {found.api_version} {found.kind}; accepted: {plugin.api_version} ExecCredential"
        )
    status = found.status
    if status is None or not (status.token or status.client_certificate_data):
        raise ConfigError(f"{plugin.where}: {plugin.command} gave neither a token nor a client certificate")
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise ConfigError(
            f"{plugin.where}: {plugin.command} gave one of clientCertificateData and clientKeyData; both are wanted"
        )
    expires = status.expiration_timestamp.timestamp() if status.expiration_timestamp else float("inf")
    return Answer(
        Secret(status.token.encode()),
        status.client_certificate_data.encode(),
        Secret(status.client_key_data.encode()),
        expires,
    )


def check_version(where: str, version: str) -> None:
    """Raises ConfigError for a version that is not spoken here."""
    if version not in _VERSIONS:
        raise ConfigError(f"{where}.apiVersion: {version!r} is not accepted; accepted: {', '.join(_VERSIONS)}")
