"""`neaptide`, the command. Asked for its version alone, it answers without importing the rest."""

import sys

from neaptide import __version__


def main() -> None:
    """Run the command line and leave with its exit code (docs/cli.md)."""
    if sys.argv[1:] == ["--version"]:
        print(f"neaptide {__version__}")  # noqa: T201 - a command prints
        return
    from neaptide.cli.app import run  # noqa: PLC0415 - costs more than the version may take

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
