"""Arrivals of requests at large-language-model services and their sizes in tokens, as Azure publishes them
(Azure/AzurePublicDataset, LLM inference 2023 and 2024, and with images the multimodal 2025 one): one service a file.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neaptide.model.problems import LeftOut
from neaptide.simulator.traces.fields import TIME, whole
from neaptide.simulator.traces.files import plain_name, read_files
from neaptide.simulator.traces.rows import read_rows


class Requests(NamedTuple):
    """The requests of one service, in order of arrival.

    Attributes:
        name: the file's name without its ending.
        arrivals: float64 [n], seconds since the epoch; several requests may share one.
        context_tokens: int64 [n], tokens that the request brought.
        generated_tokens: int64 [n], tokens of the answer.
        images: int64 [n], images that the request brought; 0 where the file has no such column.
    """

    name: str
    arrivals: NDArray[np.float64]
    context_tokens: NDArray[np.int64]
    generated_tokens: NDArray[np.int64]
    images: NDArray[np.int64]


class LlmRequests(NamedTuple):
    """What a directory holds: the services by name, and the rows and files that were left out."""

    services: dict[str, Requests]
    bad: list[LeftOut]


def load_llm_requests(directory: Path) -> LlmRequests:
    """Read every service of a directory.

    Raises:
        TraceError: no file of the directory has requests.
    """
    return LlmRequests(*read_files(directory, read_requests))


def read_requests(path: Path) -> tuple[Requests, list[LeftOut]]:
    """Read one file, its rows in any order.

    Raises:
        TraceError: the file cannot be read or lacks a column.
    """
    rows = read_rows(
        path,
        {"TIMESTAMP": TIME, "ContextTokens": whole(0), "GeneratedTokens": whole(0)},
        optional={"NumImages": (whole(0), 0)},
    )
    arrivals = np.array(rows.columns["TIMESTAMP"], np.float64)
    order = np.argsort(arrivals, kind="stable")
    counts = (
        np.array(rows.columns[name], np.int64)[order] for name in ("ContextTokens", "GeneratedTokens", "NumImages")
    )
    return Requests(plain_name(path), arrivals[order], *counts), rows.bad
