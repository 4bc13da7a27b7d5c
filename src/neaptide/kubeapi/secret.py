"""Bytes that do not show in logs and tracebacks."""


class Secret(bytes):
    """A key, a token or a password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    def __str__(self) -> str:
        return repr(self)
