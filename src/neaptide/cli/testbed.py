"""`neaptide testbed`: a real control plane on this machine to try things on, with nodes that kwok plays, or real ones."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from neaptide.testbed.tools import descheduler, helm, karpenter

if TYPE_CHECKING:
    from neaptide.model.offerings import Offering

_NODES = 10

Manifests = list[dict[str, Any]]
Words = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]


@dataclass(frozen=True)
class MixFlags:
    """What kwok's nodes are drawn from."""

    node_types: Words = ()
    """types of the catalogue to draw from; by default some of it, or all of --prices."""
    zones: Words = DEFAULT_ZONES
    """to spread the nodes over."""
    spot_fraction: float = 0.3
    """the part of the nodes that are spot, 0 to 1."""
    spot_price: float = 0.4
    """of spot nodes, as a part of the on-demand price."""
    seed: int = 1
    """the same seed draws the same nodes."""
    prices: str | None = None
    """a price catalogue (YAML or CSV) with types and their sizes; by default the one that comes with the package."""

    def nodes(self, count: int) -> Manifests:
        """So many of them. Raises UsageError."""
        if count < 0:
            raise unacceptable("--nodes", count, "0 or more")
        for option, part in (("--spot-fraction", self.spot_fraction), ("--spot-price", self.spot_price)):
            if not 0 <= part <= 1:
                raise unacceptable(option, part, "0 to 1")
        if not self.zones:
            raise unacceptable("--zones", "", "one zone or more")
        wanted = self.node_types or (() if self.prices else DEFAULT_TYPES)
        mix = Mix(
            offerings=_offerings(wanted, self.prices),
            zones=self.zones,
            spot_fraction=self.spot_fraction,
            spot_price=self.spot_price,
            seed=self.seed,
        )
        return draw(count, mix)


@dataclass(frozen=True)
class OpenbFlags:
    """What of the openb trace is there besides."""

    openb: Path | None = None
    """a directory with the openb trace, whose GPU nodes are added."""
    openb_pods: int = 0
    """how many of its pods are created, in the trace's order."""
    openb_scheduler: str = "default-scheduler"
    """the scheduler that they name."""

    def objects(self) -> tuple[Manifests, Manifests]:
        """Nodes and pods. Raises UsageError."""
        if self.openb is None:
            if self.openb_pods:
                raise unacceptable("--openb-pods", self.openb_pods, "0, unless --openb says where the trace is")
            return [], []
        with _told():
            trace = openb_trace.read(self.openb)
        return openb_trace.nodes(trace), openb_trace.pods(trace, self.openb_pods, self.openb_scheduler)


_ANY_MIX, _NO_TRACE = MixFlags(), OpenbFlags()


def up(
    *,
    name: str = "default",
    directory: Path | None = None,
    nodes: int | None = None,
    real_nodes: int = 0,
    node_cpus: Words = (),
    mix: Annotated[MixFlags, Parameter(name="*")] = _ANY_MIX,
    trace: Annotated[OpenbFlags, Parameter(name="*")] = _NO_TRACE,
) -> int:
    """Bring a control plane up, or what of it is missing, and see that it has the nodes.

    Args:
        name: of the cluster; several run side by side.
        directory: where it keeps everything; by default a directory of that name under XDG_STATE_HOME/neaptide/testbed.
        nodes: how many kwok plays, 10 unless there are real ones; those that are there stay as they are.
        real_nodes: how many run pods for real, with kubelet, containerd and runc; wants root and `make system-deps`.
        node_cpus: the CPUs of each real node, as in 0 1 or 0-1 2-3; by default all have all.
        mix: of the nodes that kwok plays.
        trace: whose nodes and pods are added.
    """
    if nodes is None:
        nodes = 0 if real_nodes else _NODES
    manifests = mix.nodes(nodes)
    traced, pods = trace.objects()
    manifests += traced
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
    print(f"The control plane is ready ({ready - began:.1f} s), and so are {count} nodes, {new} of them new", end="")
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


def build(
    *,
    with_: Annotated[
        tuple[Literal["helm", "karpenter", "descheduler"], ...], Parameter("--with", consume_multiple=True)
    ] = (),
) -> int:
    """Build the programs, if they are not built yet, and print where they are.

    Args:
        with_: what to build besides.
    """
    with _told():
        print(_build())
        if "helm" in with_:
            with progress("building helm (once; about 2 minutes on 2 cores)") as report:
                print(helm(report))
        if "karpenter" in with_:
            with progress("building Karpenter (once; about 5 minutes on 2 cores)") as report:
                print(karpenter(report) / "karpenter")
        if "descheduler" in with_:
            with progress("building descheduler (once; about 3 minutes on 2 cores)") as report:
                print(descheduler(report))
    return OK


def _build() -> Path:
    with progress("building the control plane (once; about 10 minutes on 2 cores)") as report:
        return ensure_built(report)


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
