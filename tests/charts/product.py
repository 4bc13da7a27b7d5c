"""The product's image without a container engine: this machine's Python, the packages that the product wants, and the product.

It is run as the recipe's is (Containerfile); what is left out is machine code compiled before, so that numpy's twins of the kernels run.
"""

import re
import sys
import sysconfig
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

import neaptide
from neaptide.testbed.realnodes.images import Image

NAME, TAG = "testbed.neaptide.io/neaptide", "built-here"
_NOT_OF_USE = ("site-packages", "__pycache__", "test", "idlelib", "lib2to3", "ensurepip", "tkinter", "config-")
_PROGRAM = """#!/bin/sh
exec {python} -m neaptide "$@"
"""


def image(directory: Path) -> Image:
    """Of the files that are installed here, at the same places; a directory for what has to be written."""
    python, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    standard = [str(each) for each in sorted(library.iterdir()) if not each.name.startswith(_NOT_OF_USE)]
    product = Path(neaptide.__file__).parent
    packages = sorted({str(place) for each in _closure("neaptide") for place in _places(each)})
    program = directory / "neaptide"
    program.write_text(_PROGRAM.format(python=python))
    program.chmod(0o755)
    return Image(
        name=f"{NAME}:{TAG}",
        host=[str(python), *standard, *packages, str(product)],
        entrypoint=("/usr/bin/neaptide",),
        files={"/usr/bin/neaptide": program},
        environment={
            "PYTHONHOME": str(Path(sys.base_prefix).resolve()),
            "PYTHONPATH": f"{product.parent}:{sysconfig.get_path('purelib')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        },
    )


def _closure(name: str) -> list[Distribution]:
    """The distributions that one wants here, without its extras, and without itself."""
    found: dict[str, Distribution] = {}
    left = _wanted(name)
    while left:
        each = left.pop()
        if each not in found:
            found[each] = distribution(each)
            left += _wanted(each)
    return list(found.values())


def _wanted(name: str) -> list[str]:
    """Those that it wants whatever extras are chosen, where they are installed: another platform's are not."""
    plain = [each for each in requires(name) or [] if "extra ==" not in each]
    names = [match[0] for each in plain if (match := re.match(r"[\w.-]+", each))]
    return [each for each in names if _is_installed(each)]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except ModuleNotFoundError:
        return False
    return True


def _places(of: Distribution) -> set[Path]:
    """The topmost files and folders of a distribution, but for programs and what else lies outside of the packages' folder."""
    folder = Path(str(of.locate_file("")))
    return {folder / file.parts[0] for file in of.files or [] if file.parts[0] not in ("..", "__pycache__")}
