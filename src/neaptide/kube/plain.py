"""Structs as the plain JSON that a structural schema admits: a field that is unknown is missing, for its schema allows no null."""

from typing import Any

from msgspec import Struct, structs


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of a Struct
    """A Struct's fields that are not None, by their names on the wire; nulls in its dicts mean something and stay."""
    if isinstance(value, Struct):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag_field is not None and config.tag is not None else {}
        fields = ((field.encode_name, getattr(value, field.name)) for field in structs.fields(value))
        return {**tag, **{name: plain(each) for name, each in fields if each is not None}}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
