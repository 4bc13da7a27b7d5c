"""The data sets that can be loaded, each from a directory with its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from neaptide.model.problems import LeftOut
from neaptide.simulator.traces.cpu_usage import load_cpu_usage
from neaptide.simulator.traces.dlrm import load_dlrm
from neaptide.simulator.traces.genai import load_genai
from neaptide.simulator.traces.llm_requests import load_llm_requests
from neaptide.simulator.traces.openb import load_openb


class Loaded(Protocol):
    """What every loader gives besides its columns."""

    @property
    def bad(self) -> list[LeftOut]: ...


LOADERS: list[tuple[str, Callable[[Path], Loaded]]] = [
    ("cpu_usage", load_cpu_usage),
    ("dlrm", load_dlrm),
    ("genai", load_genai),
    ("llm_requests", load_llm_requests),
    ("openb", load_openb),
]
