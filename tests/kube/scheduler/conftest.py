"""A control plane with 20 nodes for the tests of the scheduler, and schedulers as processes of their own."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import pytest
from tests.controlplane import create_namespace, running
from tests.kube.scheduler.asking import NODES, node
from tests.testbed.asking import done

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes

CRDS = Path(__file__).parents[3] / "charts" / "neaptide-interop-crds" / "files"
KINDS = ("scheduler-plugins/podgroups", "scheduler-plugins/elasticquotas", "koordinator/reservations")
Start = Callable[..., AbstractContextManager["subprocess.Popen[bytes]"]]
_numbers = count(1)


@pytest.fixture(scope="package")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """A control plane with 20 nodes of 8 cores."""
    for found in running(tmp_path_factory.mktemp("scheduler")):
        add_nodes(found.site, [node(f"node-{number:02}", zone="abc"[number % 3]) for number in range(NODES)])
        yield found


@pytest.fixture(scope="package")
def kinds(bed: Testbed) -> None:
    """The bed serves gangs, quotas and reservations."""
    for kind in KINDS:
        directory, _, beginning = kind.partition("/")
        (file,) = (CRDS / directory).glob(f"{beginning}.*")
        done(bed, "apply", "--server-side", "--filename", str(file))
        done(bed, "wait", "--for=condition=Established", f"crd/{file.stem}", "--timeout=180s")


@pytest.fixture
def place(bed: Testbed) -> Iterator[str]:
    """A namespace that no other test uses."""
    name = f"scheduled-{next(_numbers)}"
    create_namespace(bed, name)
    yield name
    done(bed, "delete", "namespace", name, "--wait=false")


@pytest.fixture
def scheduler(tmp_path: Path) -> Start:
    """Starts `neaptide run`, with `--only scheduler` unless told otherwise; it is ended, if it runs by then, where the block ends."""

    @contextmanager
    def start(
        kubeconfig: Path, *flags: str, only: tuple[str, ...] = ("--only", "scheduler")
    ) -> Iterator["subprocess.Popen[bytes]"]:
        command = [sys.executable, "-m", "neaptide", "run", *only, "--lease-seconds", "3"]
        with (tmp_path / "scheduler.log").open("ab") as log:
            command += ["--kubeconfig", str(kubeconfig), *flags]
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - the project's own
            try:
                yield process
                assert process.poll() in (None, -signal.SIGKILL), (tmp_path / "scheduler.log").read_text()
            finally:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(timeout=120)

    return start
