"""The fields of every kind as tables, for docs/api.md; `python -m` this module with the page writes what follows its mark."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from neaptide.kube.crds.definitions import DEFINITIONS, Definition
from neaptide.kube.crds.schema import Schema

MARK = "<!-- What follows is made from the Structs: python -m neaptide.kube.crds.reference docs/api.md -->"
_VALUE = re.compile(r"\d+|(?<=`)\w[-\w]*(?=`)")
_SELECTOR = "matchExpressions"


def page(head: str) -> str:
    """A page with everything after its mark made anew."""
    before, _, _ = head.partition(MARK)
    return f"{before}{MARK}\n\n" + "\n".join(_kind(each) for each in DEFINITIONS)


def _kind(definition: Definition) -> str:
    manifest = definition.manifest()
    schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    lines = [
        f"## {definition.kind}",
        "",
        f"`kubectl get {definition.plural}` (`{definition.short}`). {schema['description']}",
    ]
    for part in ("spec", "status"):
        found = schema["properties"][part]
        lines += ["", "| field | type | default | |", "| --- | --- | --- | --- |"]
        lines += [_row(path, each) for path, each in _fields(part, found)]
        sentences = list(dict.fromkeys(_sentences(part, found)))
        lines += ["", *(f"- {each}" for each in sentences)] if sentences else []
    return "\n".join([*lines, ""])


def _fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every field below a schema, with its path; a selector is one field, as everywhere in Kubernetes."""
    for name, each in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, each | {"required": name in schema.get("required", ())}
        if _SELECTOR not in each.get("properties", {}):
            yield from _fields(here, each)
            yield from _fields(f"{here}[]", each.get("items", {}))


def _sentences(path: str, schema: Schema) -> Iterator[str]:
    """What the rules of a schema and of those below it say."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"`{path}`: {rule['message']}."
    for name, each in schema.get("properties", {}).items():
        yield from _sentences(f"{path}.{name}", each)
        yield from _sentences(f"{path}.{name}[]", each.get("items", {}))


def _row(path: str, schema: Schema) -> str:
    default = schema.get("default", "")
    shown = "" if default in ("", {}) else f"`{_text(default)}`"
    description, accepted = schema.get("description", ""), _accepted(schema)
    if all(value in description for value in _VALUE.findall(accepted)):
        accepted = ""  # it is said already
    parts = [description, accepted, "Required." if schema["required"] else ""]
    text = " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)
    return f"| `{path}` | {_type(schema)} | {shown} | {text.replace('|', chr(92) + '|')} |"


def _type(schema: Schema) -> str:
    if _SELECTOR in schema.get("properties", {}):
        return "selector"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    kind = str(schema.get("type", "any"))
    return "text" if kind == "string" else kind


def _accepted(schema: Schema) -> str:
    """The limits of a value in words."""
    if "enum" in schema:
        return "One of " + ", ".join(f"`{each}`" if each else "nothing" for each in schema["enum"])
    if schema.get("items", {}).get("enum"):
        return _accepted(schema["items"])
    low, high = schema.get("minimum"), schema.get("maximum")
    parts = []
    if low is not None:
        parts.append(f"above {_text(low)}" if schema.get("exclusiveMinimum") else f"from {_text(low)}")
    if high is not None:
        parts.append(f"to {_text(high)}")
    if "maxItems" in schema:
        parts.append(f"at most {schema['maxItems']} entries")
    return " ".join(parts)[:1].upper() + " ".join(parts)[1:]


def _text(value: Any) -> str:  # noqa: ANN401 - plain JSON
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(page(target.read_text(encoding="utf-8")), encoding="utf-8")
