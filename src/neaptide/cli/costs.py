"""What a cluster costs per hour: the prices that a command is given, and what may be bought at them."""

from msgspec.structs import replace

from neaptide.cli.dump import Dump
from neaptide.cli.exits import UsageError
from neaptide.model.offerings import Offering
from neaptide.model.problems import LeftOut
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.cluster import price_nodes
from neaptide.pricing.load import load, shipped
from neaptide.pricing.offerings import offerings
from neaptide.pricing.parse import CatalogueError

_INSTANCE_TYPE = "node.kubernetes.io/instance-type"


def read_catalogue(path: str | None) -> tuple[Catalogue, list[LeftOut]]:
    """The prices of a file and what of it was left out, or those that come with the package. Raises UsageError."""
    if path is None:
        return shipped(), []
    try:
        return load(path)
    except CatalogueError as error:
        raise UsageError(str(error)) from error


def set_prices(dump: Dump, catalogue: Catalogue) -> None:
    """Price every node of a dump by its label or the catalogue; a label that states no price is reported as left out."""
    snapshot = dump.snapshot
    for problem in price_nodes(snapshot, catalogue, snapshot.nodes.indices().tolist()):
        file = dump.node_files.get(problem.object.removeprefix("Node "), "")
        dump.left_out.append(replace(problem, file=file))


def offerings_of(catalogue: Catalogue, snapshot: ClusterSnapshot, *, given: bool) -> list[Offering]:
    """What may be bought: all of a catalogue that the user has `given`, of another one only the instance types that are in use."""
    used = {snapshot.node_labels(row).get(_INSTANCE_TYPE, "") for row in snapshot.nodes.indices().tolist()}
    return [each for each in offerings(catalogue) if given or each.instance_type in used]
