"""Who the client is: certificates, tokens, files that are read again, programs that are asked for a token."""

import asyncio
import base64
import time
from pathlib import Path

from msgspec import Struct

from neaptide.kubeapi.errors import ConfigError
from neaptide.kubeapi.plugin import Plugin, ask
from neaptide.kubeapi.secret import Secret

READ_AGAIN_AFTER = 60.0
"""Seconds after which files are read again, as client-go does with token files."""

Material = Path | Secret
"""A certificate, a key or a token: a file that may change, or its contents."""


class Impersonation(Struct, frozen=True):
    """Whom the server shall take the client for (`as`, `as-uid`, `as-groups`, `as-user-extra`)."""

    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}

    def headers(self) -> list[tuple[str, str]]:
        named = [("Impersonate-User", self.user), ("Impersonate-Uid", self.uid)]
        named += [("Impersonate-Group", group) for group in self.groups]
        named += [(f"Impersonate-Extra-{key}", value) for key, values in self.extra.items() for value in values]
        return [(name, value) for name, value in named if value]


class Credentials(Struct, frozen=True):
    """What a kubeconfig's user has. Where several are given: a token file, a token, name and password, a program."""

    certificate: Material | None = None
    key: Material | None = None
    token_file: Path | None = None
    token: Secret | None = None
    username: str = ""
    password: Secret = Secret()
    plugin: Plugin | None = None
    impersonation: Impersonation = Impersonation()


class Identity(Struct, frozen=True):
    """What goes over the wire now: headers, and a client certificate with its key in PEM, empty where there is none."""

    headers: tuple[tuple[str, str], ...] = ()
    certificate: bytes = b""
    key: Secret = Secret()

    def __repr__(self) -> str:
        return f"<Identity with {', '.join(name for name, _ in self.headers) or 'no headers'}>"


class Identities:
    """Gives the identity for each request, and finds it anew when files may have changed, a token expires, or the server refuses it."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._identity = Identity()
        self._due = -float("inf")
        self._lock = asyncio.Lock()

    @property
    def can_change(self) -> bool:
        """Whether asking again may give another identity."""
        of = self._credentials
        return bool(of.plugin or of.token_file or isinstance(of.certificate, Path))

    async def current(self, *, refused: Identity | None = None) -> Identity:
        """The identity; one found anew where `refused` is still the current one. Raises ConfigError."""
        if time.time() < self._due and refused is not self._identity:
            return self._identity
        async with self._lock:
            if time.time() >= self._due or refused is self._identity:
                self._identity, self._due = await self._found()
            return self._identity

    async def _found(self) -> tuple[Identity, float]:
        """The identity, and the time in epoch seconds at which it is to be looked for again."""
        of = self._credentials
        due = time.time() + READ_AGAIN_AFTER
        certificate = read(of.certificate, "client-certificate") if of.certificate else b""
        key = Secret(read(of.key, "client-key")) if of.key else Secret()
        authorization = self._authorization()
        if of.plugin and not authorization:
            answer = await ask(of.plugin)
            due = answer.expires
            authorization = f"Bearer {answer.token.decode()}" if answer.token else ""
            certificate, key = answer.certificate or certificate, answer.key or key
        headers = [("Authorization", authorization)] if authorization else []
        return Identity((*headers, *of.impersonation.headers()), certificate, key), due

    def _authorization(self) -> str:
        of = self._credentials
        token = of.token or Secret()
        if of.token_file:
            try:
                token = Secret(read(of.token_file, "tokenFile"))
            except ConfigError:
                if not token:
                    raise
        if token:
            return f"Bearer {token.strip().decode()}"
        if of.username:
            return "Basic " + base64.b64encode(of.username.encode() + b":" + of.password).decode()
        return ""


def read(material: Material, what: str) -> bytes:
    """The contents, from the file where it is one. Raises ConfigError."""
    if not isinstance(material, Path):
        return bytes(material)
    try:
        found = material.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what}: {material} cannot be read: {error.strerror}") from error
    if not found.strip():
        raise ConfigError(f"{what}: {material} is empty")
    return found
