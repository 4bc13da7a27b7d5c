"""Exit codes, and the error that ends a command with one sentence instead of a traceback."""

OK = 0
PARTIAL = 1
"""Something of the input was left out, or there was nothing to do anything with."""
USAGE = 2
"""The command line or the input cannot be used."""
CHANGES = 2
"""Of `plan --exit-code`: there is something to do."""
INTERRUPTED = 130


class UsageError(Exception):
    """What the user gave cannot be used; its text is the sentence for standard error."""


def unacceptable(where: str, value: object, accepted: str) -> UsageError:
    """The error for a value: where it stood, what it was, and what is accepted in its place."""
    return UsageError(f"{where}: {str(value)!r} is not accepted; accepted: {accepted}")
