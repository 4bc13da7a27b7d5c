"""Reads price catalogues from files: the user's, and the one that comes with the package."""

from functools import cache
from importlib import resources
from pathlib import Path

from neaptide.model.problems import LeftOut
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.parse import CatalogueError, parse_csv, parse_yaml

_PARSERS = {".csv": parse_csv, ".yaml": parse_yaml, ".yml": parse_yaml, ".json": parse_yaml}


def load(path: str | Path) -> tuple[Catalogue, list[LeftOut]]:
    """The prices of a file that can be used, and what was left out.

    Raises:
        CatalogueError: nothing of the file can be used.
    """
    file = str(path)
    parser = _PARSERS.get(Path(path).suffix.lower())
    if parser is None:
        raise CatalogueError(LeftOut(file, "", "", Path(path).suffix, f"a file that ends in {', '.join(_PARSERS)}"))
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CatalogueError(LeftOut(file, "", "", reason, "a file that can be read")) from error
    return parser(content.decode("utf-8-sig", errors="replace"), file)


@cache
def shipped() -> Catalogue:
    """The catalogue of public list prices that comes with the package; each row says where its price is from."""
    file = resources.files("neaptide.pricing") / "catalogue.yaml"
    catalogue, left_out = parse_yaml(file.read_text(encoding="utf-8"), "catalogue.yaml")
    if left_out:
        raise CatalogueError(left_out[0])
    return catalogue
