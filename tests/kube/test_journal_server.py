"""The journal through the controller: only who shows a token of the cluster, and may have it, gets it."""

import asyncio
import contextlib
from pathlib import Path

import msgspec
import pytest
from tests.charts.scenes import free_port
from tests.kube.live import speaking
from tests.testbed.asking import done

from neaptide.kube.decisions import NAME, Past
from neaptide.kube.journal_server import JournalPlace, serve, spelt
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster, Tls
from neaptide.kubeapi.credentials import Credentials
from neaptide.kubeapi.errors import ApiError, NotFound
from neaptide.kubeapi.resources import CONFIG_MAPS
from neaptide.kubeapi.secret import Secret
from neaptide.loop import Cycle
from neaptide.model.actions import Outcome, Reason, Ref, Suspend
from neaptide.records.log import Log
from neaptide.testbed.cluster import Testbed

JOB = Ref("Job", "report", "shop")
OTHER = Ref("Job", "report", "elsewhere")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    done_to = [Suspend(policy="time-windows", target=ref, reason=Reason("Closed", "it is day")) for ref in (JOB, OTHER)]
    outcomes = tuple(Outcome(action, "Done", Reason("", "")) for action in done_to)
    with Log(tmp_path, NAME) as log:
        log.append(Cycle(0.0, "", (), outcomes))
    return tmp_path


def test_the_journal_is_told_to_whom_the_api_server_knows_and_lets_have_it(
    control_plane: Testbed, namespace: str, journal: Path, tmp_path: Path
) -> None:
    for name in ("reader", "stranger"):
        done(control_plane, "create", "serviceaccount", name, "-n", namespace)
    role = f"{namespace}-journal"
    done(control_plane, "create", "clusterrole", role, "--verb=get", "--non-resource-url=/journal")
    done(
        control_plane,
        "create",
        "clusterrolebinding",
        role,
        f"--clusterrole={role}",
        f"--serviceaccount={namespace}:reader",
    )
    tokens = {name: done(control_plane, "create", "token", name, "-n", namespace) for name in ("reader", "stranger")}
    tokens |= {"nobody": "", "a liar": "not.a.token"}
    place = JournalPlace(namespace=namespace, port=free_port())

    async def ask(client: Client) -> dict[str, Past | int]:
        serving = asyncio.create_task(serve(client, journal, place))
        authority = tmp_path / "ca.crt"
        authority.write_text(await published(client, place))
        try:
            return {who: await answer(place, authority, token) for who, token in tokens.items()}
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    answers = speaking(control_plane, ask)
    told = answers.pop("reader")
    assert answers == {"stranger": 403, "nobody": 401, "a liar": 401}
    assert isinstance(told, Past)
    assert [(each.target, each.outcome) for each in told.decisions] == [("Job shop/report", "Done")]
    done(control_plane, "delete", "clusterrolebinding,clusterrole", role)


async def published(client: Client, place: JournalPlace) -> str:
    """The authority, once it stands in its ConfigMap."""

    class Published(msgspec.Struct):
        data: dict[str, str]

    async with asyncio.timeout(180):
        while True:
            try:
                found = await client.get(CONFIG_MAPS, place.authority, place.namespace)
            except NotFound:
                await asyncio.sleep(0.05)
            else:
                return msgspec.json.decode(found, type=Published).data["ca.crt"]


async def answer(place: JournalPlace, authority: Path, token: str) -> Past | int:
    """What is told about the Job to somebody with this token, or the status of the refusal."""
    cluster = Cluster(
        f"https://localhost:{place.port}",
        tls=Tls(authority),
        credentials=Credentials(token=Secret(token.encode()) if token else None),
    )
    try:
        async with Client(cluster) as client:
            return msgspec.json.decode(await client.raw("GET", "/journal", query={"objects": spelt([JOB])}), type=Past)
    except ApiError as error:
        return error.status
