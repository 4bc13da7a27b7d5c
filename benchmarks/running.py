"""A program that runs while something is measured."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def process(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """It is told to end, and killed where it does not within 30 s."""
    with log.open("ab") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
        try:
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                running.wait(30)
            running.kill()
            running.wait()
