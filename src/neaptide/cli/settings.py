"""`--policy NAME` and `--set policy.field=value` as the loop's settings, every name and value checked."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import msgspec

from neaptide.cli.exits import UsageError, unacceptable
from neaptide.loop import Mode, Setting
from neaptide.model.problems import FieldError
from neaptide.model.protocols import Policy

_FORM = re.compile(r"(?P<policy>[^.=]+)\.(?P<field>[^=]+)=(?P<value>.*)", re.DOTALL)


def settings(policies: Sequence[Policy], names: Iterable[str], assignments: Iterable[str]) -> list[Setting]:
    """A setting, in the registry's order, for each policy of `names` (for every policy where there are none).

    Args:
        policies: all there are.
        names: which of them take part.
        assignments: `policy.field=value`; a field may be given as in YAML (camelCase) or in snake_case, a field inside
            another by its path; a value is JSON, or text as it is.

    Raises:
        UsageError: naming what was wrong and what is accepted.
    """
    known = {policy.name: policy for policy in policies}
    accepted = "one of " + ", ".join(known)
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise unacceptable("--policy", name, accepted)
    specs = {policy.name: policy.spec_type() for policy in policies}
    for text in assignments:
        match = _FORM.fullmatch(text)
        if match is None:
            raise unacceptable("--set", text, "policy.field=value")
        policy = match["policy"]
        if policy not in known or (wanted and policy not in wanted):
            raise unacceptable("--set", text, f"as the policy before the dot, one of {', '.join(wanted or known)}")
        specs[policy] = assign(specs[policy], match["field"].split("."), match["value"], f"--set {policy}")
    return [
        Setting(policy, specs[policy.name], Mode.RECOMMEND)
        for policy in policies
        if not wanted or policy.name in wanted
    ]


def assign(spec: Any, path: Sequence[str], value: str, where: str) -> Any:  # noqa: ANN401 - each policy has its own spec
    """A copy of a spec (a Struct) in which the field at `path` has a value."""
    name, *deeper = path
    fields = {field.encode_name: field for field in msgspec.structs.fields(spec)}
    field = next(
        (each for each in fields.values() if _plain(name) in (_plain(each.encode_name), _plain(each.name))), None
    )
    if field is None:
        raise unacceptable(where, name, "one of the fields " + ", ".join(fields))
    where = f"{where}.{field.encode_name}"
    inner = getattr(spec, field.name)
    if deeper and not isinstance(inner, msgspec.Struct):
        raise UsageError(f"{where} has no field {'.'.join(deeper)!r}; accepted: {where}=value")
    new = assign(inner, deeper, value, where) if deeper else _converted(value, field.type, where)
    try:
        return msgspec.structs.replace(spec, **{field.name: new})
    except FieldError as error:  # a spec may check more than types
        raise unacceptable(f"{where}: {error.field}", error.value, error.accepted) from error


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _converted(text: str, kind: Any, where: str) -> Any:  # noqa: ANN401 - a type annotation and a value of it
    """Text as JSON, else as it stands, in a field's type."""
    try:
        readings = [msgspec.json.decode(text), text]
    except msgspec.DecodeError:
        readings = [text]
    errors = []
    for reading in readings:
        try:
            return msgspec.convert(reading, kind)
        except msgspec.ValidationError as error:
            errors.append(error)
    cause = errors[0].__cause__
    if isinstance(cause, FieldError):
        raise unacceptable(f"{where}: {cause.field}", cause.value, cause.accepted)
    raise unacceptable(where, text, _described(kind) or _lower(str(errors[0])))


def _described(kind: Any) -> str:  # noqa: ANN401 - a type annotation
    """What a type's own description says is accepted; empty where it says nothing."""
    for each in (
        *getattr(kind, "__metadata__", ()),
        *(meta for part in get_args(kind) for meta in getattr(part, "__metadata__", ())),
    ):
        if isinstance(each, msgspec.Meta) and each.description:
            return each.description
    return ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
