"""Tokens, files that change, and programs that are asked."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.kubeapi.recorded import serving, status

from neaptide.kubeapi import credentials
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.credentials import Credentials, Identities, Impersonation
from neaptide.kubeapi.errors import ConfigError, Unauthorized
from neaptide.kubeapi.plugin import Interactive, Plugin
from neaptide.kubeapi.resources import PODS
from neaptide.kubeapi.secret import Secret

V1 = "client.authentication.k8s.io/v1"


def program(folder: Path, script: str, **fields: Any) -> Plugin:
    """A plugin that is a shell script and counts how often it was run."""
    path = folder / "plugin.sh"
    path.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{script}\n")
    path.chmod(0o700)
    told: dict[str, Any] = {"interactive": "Never", "folder": folder} | fields
    return Plugin("config: users[one].exec", V1, "./plugin.sh", **told)


def answer(status: dict[str, Any]) -> str:
    return "echo '" + json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status}) + "'"


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


async def _authorization(found: Credentials) -> str:
    return dict((await Identities(found).current()).headers)["Authorization"]


def test_a_token_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "READ_AGAIN_AFTER", 0.05)
    token = tmp_path / "token"

    async def scenario() -> None:
        token.write_text("first\n")
        identities = Identities(Credentials(token_file=token))
        before = await identities.current()
        assert await identities.current() is before
        token.write_text("second\n")
        await asyncio.sleep(0.06)
        assert (await identities.current()).headers == (("Authorization", "Bearer second"),)

    asyncio.run(scenario())


def test_a_refused_token_is_read_again_at_once_and_the_request_is_repeated(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer old":
            token.write_text("new")
            return status(401, "Unauthorized", "expired")
        return web.Response(body=b"{}")

    async def scenario() -> None:
        async with serving(handler, Credentials(token_file=token)) as recorded, Client(recorded.cluster) as client:
            assert await client.get(PODS, "a", "b") == b"{}"

    asyncio.run(scenario())


def test_a_token_that_stays_refused_is_an_error(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return status(401, "Unauthorized", "who are you")

    async def scenario() -> None:
        async with serving(handler, Credentials(token_file=token)) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(Unauthorized, match="who are you"):
                await client.get(PODS, "a", "b")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("found", "header"),
    [
        (Credentials(token=Secret(b"t")), "Bearer t"),
        (Credentials(token=Secret(b"t"), username="u", password=Secret(b"p")), "Bearer t"),
        (Credentials(username="u", password=Secret(b"p")), "Basic dTpw"),
        (Credentials(token=Secret(b"t"), token_file=Path("/nowhere")), "Bearer t"),
    ],
    ids=["a token", "a token before a password", "a password", "a token where its file is missing"],
)
def test_what_is_given_becomes_a_header(found: Credentials, header: str) -> None:
    assert asyncio.run(_authorization(found)) == header


def test_impersonation_is_a_row_of_headers() -> None:
    found = Impersonation("robot", "7", ("a", "b"), {"why": ("x", "y")})
    assert found.headers() == [
        ("Impersonate-User", "robot"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-why", "x"),
        ("Impersonate-Extra-why", "y"),
    ]


def test_a_program_is_asked_once_until_its_answer_expires(tmp_path: Path) -> None:
    soon = datetime.fromtimestamp(time.time() + 0.5, UTC).isoformat()

    async def scenario() -> None:
        identities = Identities(
            Credentials(plugin=program(tmp_path, answer({"token": "t", "expirationTimestamp": soon})))
        )
        found = await asyncio.gather(*(identities.current() for _ in range(5)))
        assert {each.headers for each in found} == {(("Authorization", "Bearer t"),)}
        assert runs(tmp_path) == 1
        await asyncio.sleep(0.6)
        await identities.current()
        assert runs(tmp_path) == 2

    asyncio.run(scenario())


def test_a_program_may_give_a_client_certificate(tmp_path: Path) -> None:
    found = Credentials(plugin=program(tmp_path, answer({"clientCertificateData": "C", "clientKeyData": "K"})))
    identity = asyncio.run(Identities(found).current())
    assert (identity.certificate, bytes(identity.key)) == (b"C", b"K")


def test_a_program_is_told_of_the_cluster_and_whether_it_may_ask_a_person(tmp_path: Path) -> None:
    script = (
        f'printf %s "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; printf %s "$COLOUR $1" > {tmp_path}/rest\n'
        + answer({"token": "t"})
    )
    cluster = {"server": "https://x", "config": {"a": 1}}
    plugin = program(tmp_path, script, cluster=cluster, environment={"COLOUR": "blue"}, arguments=("one",))
    asyncio.run(_authorization(Credentials(plugin=plugin)))
    told = json.loads((tmp_path / "info").read_text())
    assert told == {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False, "cluster": cluster}}
    assert (tmp_path / "rest").read_text() == "blue one"


ONLY_CERTIFICATE = "gave one of clientCertificateData and clientKeyData"


@pytest.mark.parametrize(
    ("script", "interactive", "says"),
    [
        ("echo it is broken >&2; exit 3", "Never", "ended with 3: it is broken"),
        ("echo nonsense hush", "Never", "gave no ExecCredential"),
        (answer({}), "Never", "gave neither a token nor a client certificate"),
        (answer({"clientCertificateData": "C"}), "Never", ONLY_CERTIFICATE),
        ('echo \'{"apiVersion":"v9","kind":"X"}\'', "Never", f"gave v9 X; accepted: {V1} ExecCredential"),
        (answer({"token": "t"}), "Always", "wants a terminal"),
    ],
)
def test_a_program_that_fails_is_said_to_and_its_answer_is_not_shown(
    tmp_path: Path, script: str, interactive: Interactive, says: str
) -> None:
    found = Credentials(plugin=program(tmp_path, script, interactive=interactive))
    with pytest.raises(ConfigError) as raised:
        asyncio.run(_authorization(found))
    assert says in str(raised.value)
    assert str(raised.value).startswith("config: users[one].exec: ")
    assert "hush" not in str(raised.value)


def test_a_program_that_is_missing_is_said_to_with_its_hint(tmp_path: Path) -> None:
    found = Credentials(plugin=Plugin("w", V1, "no-such-program-anywhere", install_hint="install it", folder=tmp_path))
    with pytest.raises(ConfigError, match="no-such-program-anywhere was not found, or is not executable; install it"):
        asyncio.run(_authorization(found))
