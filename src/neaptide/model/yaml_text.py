"""YAML text to plain values, by libyaml's safe loaders, refusing what would bring the process down."""

from typing import Any

import yaml

DEEPEST = 500
"""libyaml's composer recurses once a level and overflows the stack at some tens of thousands."""

_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BASE = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class YamlError(ValueError):
    """A text that is no YAML; `str()` says where and why, in one line."""


def documents(text: str) -> list[Any]:
    """The documents of a stream, with YAML's own types. Raises YamlError."""
    return _load(text, _SAFE)


def texts(text: str) -> Any:  # noqa: ANN401 - text, lists and mappings
    """One document in which every scalar stays text. Raises YamlError."""
    found = _load(text, _BASE)
    if len(found) > 1:
        raise YamlError(f"one document is accepted, and here are {len(found)}")
    return found[0] if found else ""


def _load(text: str, loader: Any) -> list[Any]:  # noqa: ANN401 - a loader class of PyYAML
    try:
        if _could_be_deep(text):
            _refuse_deep(text, loader)
        return list(yaml.load_all(text, Loader=loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(" ".join(str(error).split())) from error


def _could_be_deep(text: str) -> bool:
    """Whether brackets, or indentation and dashes, could nest beyond DEEPEST."""
    brackets = text.count("[") + text.count("{")
    widest = max((len(line) - len(line.lstrip(" -?")) for line in text.splitlines()), default=0)
    return max(brackets, widest) > DEEPEST


def _refuse_deep(text: str, loader: Any) -> None:  # noqa: ANN401 - a loader class of PyYAML
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise YamlError(f"lists and mappings may be {DEEPEST} deep")
