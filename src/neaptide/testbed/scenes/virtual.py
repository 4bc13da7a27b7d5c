"""The scene of the virtual node: a Job that asks for more than the cluster has starts at once, elsewhere, and is paid by the second.

The cluster has two nodes of 4 cores and 8 GiB, which are played; the Job asks for 16 cores and 32 GiB. It runs for real, in a container of a host
that is no node. The requests are what is scheduled and billed: the host may have fewer cores, and then it takes longer.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.images import Image
from neaptide.testbed.realnodes.registry import Registry

MANIFEST = Path(__file__).with_name("pi.yaml")
NAMESPACE, NODE, JOB = "vk", "virtual", "pi"
PERL = Image(
    name="library/perl:latest",
    host=(
        "/usr/bin/perl",
        "/usr/share/perl",
        "/usr/lib/x86_64-linux-gnu/perl",
        "/usr/lib/x86_64-linux-gnu/perl-base",
        "/usr/share/perl5/Math/BigInt.pm",
        "/usr/share/perl5/Math/BigInt",
        "/usr/share/perl5/Math/BigFloat.pm",
    ),
)
"""Debian's perl under the name that Docker Hub's has, with libmath-bigint-perl: what perl 5.36 itself brings fails at bpi(2000)."""
_SOLD = {"cpu": "64", "memory": "256Gi"}
_WITHIN = 300.0
_PAUSE = 0.2

Say = Callable[[str], None]


def play(directory: Path, say: Say) -> str:
    """Play the scene in a directory, and take everything down again. What the Job has printed.

    Args:
        directory: an empty one.
        say: is told each command, and what it printed.

    Raises:
        TestbedError: this machine lacks something, or the Job did not complete.
    """
    testbed = Testbed(directory / "cluster", leash=os.getpid())
    try:
        testbed.up()
        add_nodes(
            testbed.site,
            [fake_node(f"node-{each}", {}, {"cpu": "4", "memory": "8Gi", "pods": "110"}) for each in (1, 2)],
        )
        with Registry(PERL) as registry, ContainerHost(directory / "host") as host:
            host.mirror("docker.io", registry.url)
            with _virtual_node(testbed, host, directory, say):
                return _story(testbed, directory, say)
    finally:
        testbed.down(purge=True)


def _story(testbed: Testbed, directory: Path, say: Say) -> str:
    def kubectl(*arguments: str) -> str:
        found = testbed.kubectl(arguments, timeout=2 * _WITHIN)
        say(f"$ kubectl {' '.join(arguments)}\n{found.stdout}{found.stderr}")
        if found.returncode:
            raise TestbedError(f"kubectl {' '.join(arguments)}: {found.stderr.strip()}")
        return found.stdout

    kubectl(
        "get",
        "nodes",
        "-o",
        "custom-columns=NAME:.metadata.name,CPU:.status.capacity.cpu,MEMORY:.status.capacity.memory",
    )
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "virtual-node-affinity-injection=enabled")
    _await(testbed, "serviceaccount", "default", bool)
    say(f"$ cat pi.yaml\n{MANIFEST.read_text(encoding='utf-8')}")
    kubectl("apply", "--namespace", NAMESPACE, "-f", str(MANIFEST))
    try:
        kubectl("wait", "--namespace", NAMESPACE, "--for=condition=Complete", f"job/{JOB}", f"--timeout={_WITHIN:.0f}s")
    except TestbedError:
        kubectl("describe", "pods", "--namespace", NAMESPACE)
        raise
    kubectl("get", "pods", "--namespace", NAMESPACE, "-o", "wide")
    pod = kubectl("get", "pods", "--namespace", NAMESPACE, "-l", f"job-name={JOB}", "-o", "name").strip()
    kubectl("describe", "--namespace", NAMESPACE, pod)
    digits = kubectl("logs", "--namespace", NAMESPACE, f"job/{JOB}")
    kubectl("delete", "--namespace", NAMESPACE, f"job/{JOB}")
    say(
        "$ neaptide bill --ledger ledger --by workload\n"
        + _neaptide("bill", "--ledger", directory / "ledger", "--by", "workload")
    )
    return digits


def _await(testbed: Testbed, kind: str, name: str, holds: Callable[[str], bool]) -> None:
    due = time.monotonic() + _WITHIN
    ask = ("get", kind, name, "--namespace", NAMESPACE, "--ignore-not-found", "-o", "name")
    while not holds(testbed.kubectl(ask).stdout):
        if time.monotonic() > due:
            raise TestbedError(f"{kind} {name} did not become what it is to be within {_WITHIN:.0f} s")
        time.sleep(_PAUSE)


@contextmanager
def _virtual_node(testbed: Testbed, host: ContainerHost, directory: Path, say: Say) -> Iterator[None]:
    """`neaptide virtual-node` as a process of its own."""
    pool = {
        "name": "host-1",
        "endpoint": host.endpoint,
        "root": str(host.root),
        "cgroupParent": host.cgroup_parent,
        **_SOLD,
    }
    settings = directory / "hosts.yaml"
    settings.write_text(json.dumps({"hosts": [pool]}))
    flags = ("--name", NODE, "--provider", "containerd", "--settings", "hosts.yaml", "--ledger", "ledger")
    say(f"$ neaptide virtual-node {' '.join(flags)} &")
    command = _command(
        "virtual-node", *flags, "--kubeconfig", testbed.kubeconfig, "--address", "127.0.0.1", "--port", 0
    )
    with subprocess.Popen(command, cwd=directory, env=os.environ) as process:
        try:
            due = time.monotonic() + _WITHIN
            while (
                testbed.kubectl(["get", "node", NODE, "-o", "jsonpath={.status.capacity.cpu}"]).stdout != _SOLD["cpu"]
            ):
                if process.poll() is not None or time.monotonic() > due:
                    raise TestbedError("the virtual node did not come up")
                time.sleep(_PAUSE)
            yield
        finally:
            process.terminate()


def _neaptide(*arguments: object) -> str:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, check=True, env=os.environ).stdout


def _command(*arguments: object) -> Sequence[str]:
    return [sys.executable, "-m", "neaptide", *map(str, arguments)]
