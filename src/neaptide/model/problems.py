"""What was left out of an input, and why: every reader returns these beside what it could use."""

import msgspec


class LeftOut(msgspec.Struct, frozen=True, gc=False):
    """One object, row or value that was not used; the rest of its file was.

    Attributes:
        file: the path as the user gave it.
        object: which object in the file: `Pod default/web-0`, `line 12`, `prices[3]`.
        field: the field's path inside the object; empty where the object as a whole is meant.
        value: what stood there, as text; empty where nothing did.
        accepted: what is accepted in its place.
    """

    file: str
    object: str
    field: str
    value: str
    accepted: str

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.object, self.field) if part)
        return f"{where}: {self.value!r} is not accepted; accepted: {self.accepted}"


class FieldError(ValueError):
    """A value that cannot be used: the field's path inside its object, the value as text, and what is accepted."""

    def __init__(self, field: str, value: object, accepted: str) -> None:
        super().__init__(f"{field}: {value!r} is not accepted; accepted: {accepted}")
        self.field, self.value, self.accepted = field, str(value), accepted

    def left_out(self, file: str, name: str) -> LeftOut:
        """The record of this error for an object of a file."""
        return LeftOut(file, name, self.field, self.value, self.accepted)
