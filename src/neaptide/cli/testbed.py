"""`neaptide testbed`: a real control plane on this machine to try things on, with nodes that kwok plays, or real ones."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from neaptide.cli.costs import read_catalogue
from neaptide.cli.exits import OK, PARTIAL, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.cli.progress import progress
from neaptide.testbed import openb as openb_trace
from neaptide.testbed.build import ensure_built
from neaptide.testbed.cluster import Testbed, directory_of
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.load import add_nodes, add_pods
from neaptide.testbed.nodes import DEFAULT_TYPES, DEFAULT_ZONES, Mix, draw
from neaptide.testbed.realnodes.cluster import RealNodes, even_shapes
from neaptide.testbed.realnodes.host import require, survey
from neaptide.testbed.tools import helm

if TYPE_CHECKING:
    from neaptide.model.offerings import Offering

_NODES = 10

Words = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]


def up(
    *,
    name: str = "default",
    directory: Path | None = None,
    nodes: int | None = None,
    real_nodes: int = 0,
    node_cpus: Words = (),
    node_types: Words = (),
    zones: Words = DEFAULT_ZONES,
    spot_fraction: float = 0.3,
    spot_price: float = 0.4,
    seed: int = 1,
    prices: str | None = None,
    openb: Path | None = None,
    openb_pods: int = 0,
    openb_scheduler: str = "default-scheduler",
) -> int:
    """Bring a control plane up, or what of it is missing, and see that it has the nodes.

    Args:
        name: of the cluster; several run side by side.
        directory: where it keeps everything; by default a directory of that name under XDG_STATE_HOME/neaptide/testbed.
        nodes: how many kwok plays, 10 unless there are real ones; those that are there stay as they are.
        real_nodes: how many run pods for real, with kubelet, containerd and runc; wants root and `make system-deps`.
        node_cpus: the CPUs of each real node, as in 0 1 or 0-1 2-3; by default all have all.
        node_types: types of the catalogue to draw from; by default some of it, or all of --prices.
        zones: to spread the nodes over.
        spot_fraction: the part of the nodes that are spot, 0 to 1.
        spot_price: of spot nodes, as a part of the on-demand price.
        seed: the same seed draws the same nodes.
        prices: a price catalogue (YAML or CSV) with types and their sizes; by default the one that comes with the package.
        openb: a directory with the openb trace, whose GPU nodes are added.
        openb_pods: how many of its pods are created, in the trace's order.
        openb_scheduler: the scheduler that they name.
    """
    if nodes is None:
        nodes = 0 if real_nodes else _NODES
    manifests = _drawn_nodes(nodes, node_types, zones, spot_fraction, spot_price, seed, prices)
    pods: list[dict[str, Any]] = []
    if openb is not None:
        with _told():
            trace = openb_trace.read(openb)
        manifests += openb_trace.nodes(trace)
        pods = openb_trace.pods(trace, openb_pods, openb_scheduler)
    elif openb_pods:
        raise unacceptable("--openb-pods", openb_pods, "0, unless --openb says where the trace is")
    if real_nodes < 0:
        raise unacceptable("--real-nodes", real_nodes, "0 or more")
    began = time.monotonic()
    with _told():
        shapes = even_shapes(real_nodes, node_cpus)
        if shapes:
            require(survey())  # before anything is started
        testbed = Testbed(directory or directory_of(name))
        _build()
        with progress("starting the control plane") as report:
            testbed.up(report)
        ready = time.monotonic()
        with progress(f"waiting for {len(manifests)} nodes") as report:
            new = add_nodes(testbed.site, manifests, report)
        if pods:
            with progress(f"creating {len(pods)} pods"):
                add_pods(testbed.site, pods)
        if shapes:
            with progress(f"starting {len(shapes)} real nodes") as report:
                new += RealNodes(testbed).up(shapes, report)
    count = len(manifests) + len(shapes)
    print(
        f"The control plane is ready ({ready - began:.1f} s), and so are {count} nodes, {new} of them new",
        end="",
    )
    print(f" ({time.monotonic() - ready:.1f} s).\n\n  export KUBECONFIG={testbed.kubeconfig}")
    return OK


def status(*, name: str = "default", directory: Path | None = None, output: Output = "table") -> int:
    """Show the components, their memory and their ports. The exit code is 1 where one does not run.

    Args:
        name: of the cluster.
        directory: where it keeps everything, if not in the place by its name.
        output: table for people; json or yaml for programs.
    """
    with _told():
        testbed = Testbed(directory or directory_of(name))
        components = [*testbed.status(), *RealNodes(testbed).status()]
    emit(components, output, title="testbed")
    return OK if all(component.state == "running" for component in components) else PARTIAL


def kubectl(
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    name: str = "default",
    directory: Path | None = None,
) -> int:
    """Run kubectl as the cluster's administrator.

    Args:
        arguments: for kubectl, after `--`.
        name: of the cluster.
        directory: where it keeps everything, if not in the place by its name.
    """
    with _told():
        program, environment = Testbed(directory or directory_of(name)).kubectl_command()
    os.execve(program, [program, *arguments], environment)  # noqa: S606 - kubectl takes this command's place


def logs(
    component: str, *, name: str = "default", directory: Path | None = None, lines: int = 50, follow: bool = False
) -> int:
    """Print the end of what a component has logged.

    Args:
        component: its name as `status` shows it, as in real-1/kubelet; or `audit` for the API server's audit log.
        name: of the cluster.
        directory: where it keeps everything, if not in the place by its name.
        lines: how many.
        follow: go on with what it logs from now on.
    """
    with _told():
        testbed = Testbed(directory or directory_of(name))
        file = RealNodes(testbed).log(component) if "/" in component else testbed.log(component)
    if not file.exists():
        raise UsageError(f"{file}: {component} has not logged anything there")
    command = ["tail", "-n", str(lines), *(["-f"] if follow else []), str(file)]
    os.execvp(command[0], command)  # noqa: S606 - tail takes this command's place


def down(*, name: str = "default", directory: Path | None = None, purge: bool = False) -> int:
    """End every process of a cluster. `up` brings it back with its data; real nodes come back with empty disks.

    Args:
        name: of the cluster.
        directory: where it keeps everything, if not in the place by its name.
        purge: forget the data, keys and logs too.
    """
    with _told():
        testbed = Testbed(directory or directory_of(name))
        RealNodes(testbed).down()
        testbed.down(purge=purge)
    return OK


def build(*, with_: Annotated[tuple[Literal["helm"], ...], Parameter("--with", consume_multiple=True)] = ()) -> int:
    """Build the programs, if they are not built yet, and print where they are.

    Args:
        with_: what to build besides.
    """
    with _told():
        print(_build())
        if "helm" in with_:
            with progress("building helm (once; about 2 minutes on 2 cores)") as report:
                print(helm(report))
    return OK


def _build() -> Path:
    with progress("building the control plane (once; about 10 minutes on 2 cores)") as report:
        return ensure_built(report)


def _drawn_nodes(
    count: int,
    types: Sequence[str],
    zones: Sequence[str],
    spot_fraction: float,
    spot_price: float,
    seed: int,
    prices: str | None,
) -> list[dict[str, Any]]:
    if count < 0:
        raise unacceptable("--nodes", count, "0 or more")
    for option, value in (("--spot-fraction", spot_fraction), ("--spot-price", spot_price)):
        if not 0 <= value <= 1:
            raise unacceptable(option, value, "0 to 1")
    if not zones:
        raise unacceptable("--zones", "", "one zone or more")
    wanted = types or (() if prices else DEFAULT_TYPES)
    mix = Mix(
        offerings=_offerings(wanted, prices), zones=zones, spot_fraction=spot_fraction, spot_price=spot_price, seed=seed
    )
    return draw(count, mix)


def _offerings(types: Sequence[str], prices: str | None) -> "list[Offering]":
    from neaptide.pricing.offerings import offerings

    catalogue, _ = read_catalogue(prices)
    sold = offerings(catalogue)
    known = {each.instance_type for each in sold}
    for wanted in types:
        if wanted not in known:
            raise unacceptable("--node-types", wanted, "a type whose size the catalogue states (neaptide prices check)")
    chosen = [each for each in sold if not types or each.instance_type in types]
    if not chosen:
        raise unacceptable("--prices", prices, "a catalogue that states the size of at least one type")
    return chosen


@contextmanager
def _told() -> Iterator[None]:
    """What the testbed has to say ends the command as a sentence."""
    try:
        yield
    except TestbedError as error:
        raise UsageError(str(error)) from error
