"""What can go wrong with a testbed, as sentences for people."""


class TestbedError(Exception):
    """The testbed could not be built, started or asked; the text says what was wrong and what to do."""
