"""What the source says about the fields of a Struct: the `Attributes:` of its docstring, and the texts below its fields."""

import ast
import inspect
import re
import textwrap
from functools import cache
from itertools import pairwise

from msgspec import Struct

_ENTRY = re.compile(r"^ {4}(\w+): (.*)$")


def summary(struct: type[Struct]) -> str:
    """A Struct's docstring without its sections, on one line."""
    text = inspect.cleandoc(vars(struct).get("__doc__") or "")  # its own, not one that it inherits
    return _line(re.split(r"\n\w+:\n", text)[0])


@cache
def fields(struct: type[Struct]) -> dict[str, str]:
    """By attribute, what is said about it in the Struct or in those that it is made from."""
    found: dict[str, str] = {}
    for each in reversed(struct.__mro__):
        if each is not Struct and issubclass(each, Struct):
            found |= _attributes(each) | _texts_below(each)
    return found


def _attributes(struct: type[Struct]) -> dict[str, str]:
    _, _, section = (inspect.getdoc(struct) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith(" " * 8):
            found[name] += " " + line.strip()
        else:
            break
    return found


def _texts_below(struct: type[Struct]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(struct)))
    except (OSError, TypeError):  # made at run time
        return {}
    found: dict[str, str] = {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for field, text in pairwise(body):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            found[field.target.id] = _line(text.value.value)
    return found


def _line(text: str) -> str:
    return " ".join(text.split())
