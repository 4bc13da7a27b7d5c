"""The product's image without a container engine: this machine's Python, the packages that the product wants, and the product.

It is run as the recipe's is (Containerfile); what is left out is machine code compiled before, so that numpy's twins of the kernels run.
"""

import re
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

import neaptide
from neaptide.testbed.realnodes.images import Image

NAME, TAG = "testbed.neaptide.io/neaptide", "built-here"
_NOT_OF_USE = ("site-packages", "__pycache__", "test", "idlelib", "lib2to3", "ensurepip", "tkinter", "config-")
_PLACE = "/opt/neaptide"
_PROGRAM = """#!/bin/sh
exec {python} -m neaptide "$@"
"""


def image(directory: Path) -> Image:
    """Of what is installed here, the product and its packages below /opt, as the recipe has them; a directory for what has to be written."""
    python, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    standard = [str(each) for each in sorted(library.iterdir()) if not each.name.startswith(_NOT_OF_USE)]
    program = directory / "neaptide"
    program.write_text(_PROGRAM.format(python=python))
    program.chmod(0o755)
    product = Path(neaptide.__file__).parent
    own = {f"{_PLACE}/neaptide/{each.relative_to(product)}": each for each in _files(product)}
    packages = {place: path for each in _closure("neaptide") for place, path in _places(each)}
    return Image(
        name=f"{NAME}:{TAG}",
        host=[str(python), *standard],
        entrypoint=("/usr/bin/neaptide",),
        files={"/usr/bin/neaptide": program, **packages, **own},
        environment={
            "PYTHONHOME": str(Path(sys.base_prefix).resolve()),
            "PYTHONPATH": _PLACE,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        },
    )


def _files(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.rglob("*")) if each.is_file() and "__pycache__" not in each.parts]


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


def _places(of: Distribution) -> Iterator[tuple[str, Path]]:
    """The files of a distribution by their places in the image, but for programs and what else lies outside of the packages' folder."""
    for file in of.files or []:
        path = Path(str(file.locate()))
        if ".." not in file.parts and "__pycache__" not in file.parts and path.is_file():
            yield f"{_PLACE}/{file}", path
