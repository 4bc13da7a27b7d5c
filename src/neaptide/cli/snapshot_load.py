"""`neaptide snapshot load`: a file as a cluster."""

import sys
from typing import Annotated

from cyclopts import Parameter

from neaptide.cli.connection import DEFAULT, Connection, speak
from neaptide.cli.dump import read_objects
from neaptide.cli.exits import OK, PARTIAL, UsageError
from neaptide.cli.loading import load as loading
from neaptide.kubeapi.client import Client
from neaptide.model.build import build
from neaptide.model.problems import LeftOut

_SHOWN = 5
_REQUESTS_PER_SECOND = 2000.0


def load(
    dump: str, /, *, yes_really: bool = False, connection: Annotated[Connection, Parameter(name="*")] = DEFAULT
) -> int:
    """Put a dump into a cluster whose nodes kwok plays, as in `neaptide testbed up --nodes 0`; what is there already stays.

    Args:
        dump: a file or a directory of cluster objects, also anonymised ones, or - for standard input.
        yes_really: also into a cluster that has real nodes.
        connection: which cluster.
    """
    found, left_out = read_objects(dump)
    snapshot, unusable = build(found)
    items = [each.item for each in found]

    async def ask(client: Client) -> loading.Loaded:
        real = await loading.real_nodes(client)
        if real and not yes_really:
            raise UsageError(
                f"{client.cluster.server} has {len(real)} nodes that kwok does not play, {real[0]} among them: "
                "this is meant for a testbed; --yes-really does it all the same"
            )
        return await loading.load(client, items, snapshot.workloads, _tell)

    done = speak(connection, ask, qps=_REQUESTS_PER_SECOND)
    return _concluded(done, left_out + unusable)


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"neaptide: {what} …", file=sys.stderr)


def _concluded(done: loading.Loaded, left_out: list[LeftOut]) -> int:
    print(f"neaptide: {done.created} objects were created, {done.there} were there already", file=sys.stderr)
    for sentence in done.notes:
        print(f"neaptide: {sentence}", file=sys.stderr)
    for problem in left_out:
        print(f"neaptide: left out: {problem}", file=sys.stderr)
    for refusal in done.refused[:_SHOWN]:
        print(f"neaptide: refused: {refusal}", file=sys.stderr)
    if len(done.refused) > _SHOWN:
        print(f"neaptide: {len(done.refused) - _SHOWN} more were refused", file=sys.stderr)
    return PARTIAL if done.refused or left_out or not (done.created or done.there) else OK
