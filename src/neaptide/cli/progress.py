"""How far a command has come, on standard error, once it has taken longer than two seconds: a bar in a terminal, else lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0  # seconds
BETWEEN_LINES = 10.0


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """Gives a function that takes the part that is done, 0 to 1."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    due = time.monotonic() + PATIENCE
    with Progress(console=console, transient=True, disable=not console.is_terminal, auto_refresh=False) as bar:
        task = bar.add_task(what, total=1.0, visible=False)

        def report(done: float) -> None:
            nonlocal due
            late = time.monotonic() >= due
            bar.update(task, completed=done, visible=late, refresh=late)
            if late and not console.is_terminal:
                print(f"neaptide: {what}: {done:.0%}", file=sys.stderr, flush=True)
                due += BETWEEN_LINES

        yield report
