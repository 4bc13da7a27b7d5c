"""Progress on standard error, for what takes longer than two seconds."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")
PATIENCE = 2.0  # seconds


def progress(items: Iterable[Item], what: str) -> Iterator[Item]:
    """Yield the items; a bar appears once they have taken longer than `PATIENCE`, where a person looks at standard error."""
    from rich.console import Console
    from rich.progress import Progress

    total = len(items) if isinstance(items, Sized) else None
    began = time.monotonic()
    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(), auto_refresh=False
    ) as bar:
        task = bar.add_task(what, total=total, visible=False)
        for item in items:
            yield item
            late = time.monotonic() - began > PATIENCE
            bar.update(task, advance=1, visible=late, refresh=late)
