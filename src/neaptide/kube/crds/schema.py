"""Structs as structural OpenAPI v3 schemas, the form that a CustomResourceDefinition wants.

Types, limits, enumerations, defaults and descriptions are the Structs' own; what a Struct checks beyond them stands in
`constraints`. A field that may be None is nullable; a union of tagged Structs is one object with the fields of all, and a
rule for each that says which of them it needs.
"""

from enum import Enum
from functools import singledispatch
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct, inspect

from neaptide.kube.crds import described
from neaptide.kube.crds.constraints import INSTEAD, OF_FIELDS, OF_STRUCTS
from neaptide.kube.crds.types import Condition

Schema = dict[str, Any]

_PRESERVED: Schema = {"x-kubernetes-preserve-unknown-fields": True}


def schema_of(struct: type[Struct]) -> Schema:
    """The schema of a Struct."""
    return _schema(inspect.type_info(struct))


@singledispatch
def _schema(info: inspect.Type) -> Schema:
    raise TypeError(f"{info} has no schema")


@_schema.register
def _(info: inspect.Metadata) -> Schema:
    return _schema(info.type) | (info.extra_json_schema or {})


@_schema.register
def _(_info: inspect.AnyType) -> Schema:
    return dict(_PRESERVED)


@_schema.register
def _(_info: inspect.BoolType) -> Schema:
    return {"type": "boolean"}


@_schema.register
def _(info: inspect.IntType) -> Schema:
    return {"type": "integer", "format": "int64"} | _limits(info)


@_schema.register
def _(info: inspect.FloatType) -> Schema:
    return {"type": "number"} | _limits(info)


@_schema.register
def _(info: inspect.StrType) -> Schema:
    found = {"minLength": info.min_length, "maxLength": info.max_length, "pattern": info.pattern}
    return {"type": "string"} | _given(found)


@_schema.register
def _(info: inspect.EnumType) -> Schema:
    return {"type": "string", "enum": [each.value for each in info.cls]}


@_schema.register
def _(info: inspect.LiteralType) -> Schema:
    return {"type": "string", "enum": list(info.values)}


@_schema.register
def _(info: inspect.VarTupleType) -> Schema:
    found: Schema = {"type": "array", "items": _schema(info.item_type)}
    if isinstance(info.item_type, inspect.StructType) and info.item_type.cls is Condition:
        found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    else:
        found["x-kubernetes-list-type"] = "atomic"
    return found | _given({"minItems": info.min_length, "maxItems": info.max_length})


@_schema.register
def _(info: inspect.DictType) -> Schema:
    values = _schema(info.value_type)
    found: Schema = {"type": "object"}
    return found | (values if values == _PRESERVED else {"additionalProperties": values})


@_schema.register
def _(info: inspect.UnionType) -> Schema:
    kinds = [each for each in info.types if not isinstance(each, inspect.NoneType)]
    structs = [each for each in kinds if isinstance(each, inspect.StructType)]
    if len(kinds) == 1:
        found = _schema(kinds[0])
    elif len(structs) == len(kinds):
        found = _one_of(structs)
    else:
        raise TypeError(f"{info}: only tagged Structs have a common schema")
    return found | ({"nullable": True} if len(kinds) < len(info.types) else {})


@_schema.register
def _(info: inspect.StructType) -> Schema:
    texts = described.fields(info.cls)
    properties: Schema = {}
    required: list[str] = []
    for each in info.fields:
        instead = INSTEAD.get((info.cls, each.name))
        # The text below a field says more than its type, and what `constraints` adds more than both.
        found = (
            _schema(inspect.type_info(instead) if instead else each.type)
            | _given({"description": texts.get(each.name)})
            | _added(info.cls, each.name)
        )
        properties[each.encode_name] = found | _default(each, found)
        if each.required:
            required.append(each.encode_name)
    if info.tag is not None:
        properties = {str(info.tag_field): {"type": "string", "enum": [info.tag]}} | properties
        required.insert(0, str(info.tag_field))
    description = described.summary(info.cls)
    found = {"type": "object"} | _given({"description": description or None, "required": sorted(required) or None})
    return found | {"properties": properties} | OF_STRUCTS.get(info.cls, {})


def _one_of(structs: list[inspect.StructType]) -> Schema:
    """One object for several tagged Structs, with a rule for each that needs more than all of them do."""
    schemas = {str(each.tag): _schema(each) for each in structs}
    field = str(structs[0].tag_field)
    common = set.intersection(*(set(each["required"]) for each in schemas.values()))
    properties: Schema = {}
    rules = []
    for tag, schema in schemas.items():
        for name, full in schema["properties"].items():
            # A default would be filled in for the others, too.
            value = {key: part for key, part in full.items() if key != "default"}
            if properties.setdefault(name, value) != value and name != field:
                raise TypeError(f"the field {name} of {tag} differs from that of another Struct")
        # To CEL, a field that is null is not there.
        able = {name for name, value in schema["properties"].items() if not value.get("nullable")}
        needed = sorted((set(schema["required"]) - common) & able)
        if needed:
            has = " && ".join(f"has(self.{name})" for name in needed)
            rules.append({"rule": f"self.{field} != '{tag}' || ({has})", "message": f"{tag} needs {', '.join(needed)}"})
    properties[field] = {"type": "string", "enum": list(schemas)}
    found: Schema = {"type": "object", "required": sorted(common), "properties": properties}
    return found | ({"x-kubernetes-validations": rules} if rules else {})


def _added(struct: type[Struct], attribute: str) -> Schema:
    for each in struct.__mro__:
        if (each, attribute) in OF_FIELDS:
            return OF_FIELDS[each, attribute]
    return {}


def _default(each: inspect.Field, schema: Schema) -> Schema:
    """A default that says something: not None, nor what is empty; for an object with defaults inside, it is there."""
    value = each.default if each.default is not NODEFAULT else None
    if each.default_factory is not NODEFAULT:
        value = each.default_factory()
    if isinstance(value, Struct):
        return {"default": {}} if any("default" in inner for inner in schema["properties"].values()) else {}
    if value is None or (isinstance(value, str | tuple | list | dict) and not value):
        return {}
    return {"default": value.value if isinstance(value, Enum) else msgspec.to_builtins(value)}


def _limits(info: inspect.IntType | inspect.FloatType) -> Schema:
    found = {
        "minimum": info.ge if info.gt is None else info.gt,
        "maximum": info.le if info.lt is None else info.lt,
        "exclusiveMinimum": None if info.gt is None else True,
        "exclusiveMaximum": None if info.lt is None else True,
        "multipleOf": info.multiple_of,
    }
    return _given(found)


def _given(found: Schema) -> Schema:
    return {key: value for key, value in found.items() if value is not None}
