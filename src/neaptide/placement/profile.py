"""A profile: which filters and scores place pods, with their weights and parameters."""

import re
from typing import Any, TypeVar, get_args

import msgspec
import yaml
from msgspec import Struct

from neaptide.model.problems import FieldError
from neaptide.placement.filters.registry import DEFAULT_FILTERS, AnyFilter
from neaptide.placement.scores.registry import DEFAULT_SCORES, AnyScore


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """Filters in the order in which they are asked, and scores. The defaults are kube-scheduler's."""

    filters: tuple[AnyFilter, ...] = DEFAULT_FILTERS
    scores: tuple[AnyScore, ...] = DEFAULT_SCORES


DEFAULT = Profile()
_P = TypeVar("_P", bound=Profile)


def read_profile(text: str) -> Profile:
    """A profile from YAML: `filters` and `scores`, each a list of names or of maps with `name`, parameters and `weight`.

    A list that is left out is the default one. Raises FieldError.
    """
    return read_as(Profile, text)


def read_as(kind: type[_P], text: str) -> _P:
    """A profile of some kind from YAML; every list is one of names or of maps with `name`. Raises FieldError."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FieldError("", " ".join(str(error).split()), "YAML") from error
    if document is None:
        return kind()
    if not isinstance(document, dict):
        raise FieldError("", document, "a map with filters and scores")
    spelled_out = {key: _spelled_out(value) for key, value in document.items()}
    try:
        profile = msgspec.convert(spelled_out, kind)
    except msgspec.ValidationError as error:
        raise _field_error(error, spelled_out) from error
    for field in kind.__struct_fields__:
        items = getattr(profile, field)
        names = [each.name for each in items] if isinstance(items, tuple) else []
        for position, name in enumerate(names):
            if name in names[:position]:
                raise FieldError(f"{field}[{position}]", name, "each name once")
    return profile


def _spelled_out(items: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    """A list with names replaced by maps."""
    if not isinstance(items, list):
        return items
    return [{"name": each} if isinstance(each, str) else each for each in items]


_PROBLEM = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+")
_NAMES = {
    field: "one of " + ", ".join(each.__struct_config__.tag for each in get_args(kinds))
    for field, kinds in (("filters", AnyFilter), ("scores", AnyScore))
}


def _field_error(error: msgspec.ValidationError, document: Any) -> FieldError:  # noqa: ANN401 - whatever stands in the file
    match = _PROBLEM.fullmatch(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    value = document
    for step in _STEP.findall(path):
        if isinstance(value, list):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step, "")
    names = _NAMES.get(path.partition("[")[0], "")
    return FieldError(path, value, names if path.endswith(".name") and names else what)
