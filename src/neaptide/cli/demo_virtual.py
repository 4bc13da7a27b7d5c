"""`neaptide demo-virtual`: the scene of the virtual node, played on a testbed of its own."""

from pathlib import Path
from tempfile import TemporaryDirectory

from neaptide.cli.exits import OK, UsageError


def demo_virtual() -> int:
    """Bring a cluster and a host up, run the Job, show its events, its digits and its bill, and take everything down. Wants root."""
    from neaptide.testbed.errors import TestbedError
    from neaptide.testbed.scenes.virtual import play

    with TemporaryDirectory(prefix="neaptide-") as directory:
        try:
            play(Path(directory), lambda text: print(text, flush=True))
        except TestbedError as error:
            raise UsageError(str(error)) from error
    return OK
