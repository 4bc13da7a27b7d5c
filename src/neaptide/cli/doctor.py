"""`neaptide doctor`: what is installed, which rights are missing, who else acts here, and what is unsafe."""

from typing import Annotated

from cyclopts import Parameter

from neaptide.cli.connection import DEFAULT, Connection, read_cluster, speak
from neaptide.cli.costs import read_catalogue, set_prices
from neaptide.cli.exits import OK, PARTIAL
from neaptide.cli.output import Output, emit
from neaptide.kube.doctor.checks import examine
from neaptide.kube.doctor.finding import Seen
from neaptide.kube.doctor.look import ask


def doctor(
    *,
    prices: str | None = None,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
    output: Output = "table",
) -> int:
    """Examine a cluster; the exit code is 1 where there is a problem.

    Args:
        prices: a price catalogue (YAML or CSV); by default the public list prices that come with the package.
        connection: which cluster.
        output: table for people; json or yaml for programs.
    """
    catalogue, _ = read_catalogue(prices)
    cluster, unseen = read_cluster(connection)
    set_prices(cluster, catalogue)
    namespace = connection.cluster().namespace
    asked = speak(connection, lambda client: ask(client, namespace))
    found = examine(
        Seen(
            cluster.snapshot,
            cluster.now,
            unseen,
            asked.served,
            asked.leases,
            asked.rights,
            asked.fail_open,
            asked.webhooks,
            asked.policies,
        )
    )
    emit(found, output, title="" if found else "nothing to say")
    return PARTIAL if any(each.severity == "problem" for each in found) else OK
