"""A price catalogue from the text of a CSV or YAML file. What is wrong is left out and reported; the rest is used."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from neaptide.model.problems import LeftOut
from neaptide.model.yaml_text import YamlError, texts
from neaptide.pricing.catalogue import Catalogue, GpuPrice, InstancePrice, UnitPrice
from neaptide.pricing.outliers import outliers
from neaptide.pricing.rows import GPU, INSTANCE, UNIT, parse_row, show

_SECTIONS = {"instance_types": INSTANCE, "units": UNIT, "gpus": GPU}
_DEFAULTS = ("capacity_type", "zone", "source", "date")
_REQUIRED_COLUMNS = [name for name, field in INSTANCE.fields.items() if field.required]


class CatalogueError(ValueError):
    """A file of which nothing can be used; `left_out` says what was wrong with it."""

    def __init__(self, left_out: LeftOut) -> None:
        super().__init__(str(left_out))
        self.left_out = left_out


class _Collector:
    """Takes rows one by one and keeps the good ones and what was wrong with the others."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.left_out: list[LeftOut] = []
        self._prices: dict[str, list[Any]] = {section: [] for section in _SECTIONS}
        self._seen: dict[tuple[str, ...], str] = {}
        self._names: dict[Any, str] = {}

    def add(self, section: str, row: Mapping[str, object], name: str) -> None:
        form = _SECTIONS[section]
        price, wrong = parse_row(row, form, file=self.file, name=name)
        self.left_out += wrong
        if price is None:
            return
        key = (section, *(getattr(price, field) for field in form.key))
        if key in self._seen:
            accepted = f"one row for each {', '.join(form.key)}; {self._seen[key]} has these"
            self.report(name, form.key[0], ", ".join(part or "all" for part in key[1:]), accepted)
            return
        self._seen[key] = name
        self._prices[section].append(price)
        self._names[price] = name

    def report(self, name: str, field: str, value: str, accepted: str) -> None:
        self.left_out.append(LeftOut(self.file, name, field, value, accepted))

    def catalogue(self) -> Catalogue:
        instances: list[InstancePrice] = self._prices["instance_types"]
        strange = dict(outliers(instances))
        for price, expected in strange.items():
            accepted = (
                f"about {expected:.4g}, as others of its family are for each CPU, and no twenty times more or less"
            )
            self.report(self._names[price], "price_per_hour", f"{price.price_per_hour:g}", accepted)
        instances = [each for each in instances if each not in strange]
        units: list[UnitPrice] = self._prices["units"]
        gpus: list[GpuPrice] = self._prices["gpus"]
        return Catalogue(instances, units, gpus)


def parse_csv(text: str, file: str) -> tuple[Catalogue, list[LeftOut]]:
    """A catalogue of instance types, one a line, under a header.

    Raises:
        CatalogueError: the header is missing, or lacks a column that is needed, or has one twice.
    """
    lines = _csv_lines(text)
    _, header = next(lines, (0, []))
    columns = [column.strip() for column in header] if isinstance(header, list) else []
    missing = [column for column in _REQUIRED_COLUMNS if column not in columns]
    if missing or len(set(columns)) < len(columns):
        accepted = f"a header with each of {', '.join(INSTANCE.fields)} once, {', '.join(_REQUIRED_COLUMNS)} at least"
        raise CatalogueError(LeftOut(file, "line 1", ", ".join(missing), show(",".join(columns)), accepted))
    rows = _Collector(file)
    for column in columns:
        if column not in INSTANCE.fields:
            rows.report("line 1", column, column, "the columns " + ", ".join(INSTANCE.fields))
    for number, cells in lines:
        if isinstance(cells, csv.Error):
            rows.report(f"line {number}", "", str(cells), "a line of CSV")
        elif len(cells) > len(columns):
            rows.report(f"line {number}", "", f"{len(cells)} cells", f"{len(columns)} cells, as in the header")
        elif any(cell.strip() for cell in cells):
            rows.add("instance_types", dict(zip(columns, cells, strict=False)), f"line {number}")
    return rows.catalogue(), rows.left_out


def _csv_lines(text: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    while True:
        try:
            yield reader.line_num + 1, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, error


def parse_yaml(text: str, file: str) -> tuple[Catalogue, list[LeftOut]]:
    """A catalogue with the sections `instance_types`, `units` and `gpus`, lists of rows, and defaults for their fields beside them.

    A list alone is one of instance types.

    Raises:
        CatalogueError: the text is no YAML, or neither a list nor a mapping.
    """
    try:
        document = texts(text)
    except YamlError as error:
        raise CatalogueError(LeftOut(file, "", "", str(error), "a YAML document")) from error
    if isinstance(document, list):
        document = {"instance_types": document}
    if not isinstance(document, dict):
        accepted = f"a list of instance types, or a mapping with {', '.join(_SECTIONS)}"
        raise CatalogueError(LeftOut(file, "", "", show(document), accepted))
    rows = _Collector(file)
    defaults = {field: document[field] for field in _DEFAULTS if field in document}
    for key, section in document.items():
        if key in _SECTIONS:
            _add_section(rows, key, section, defaults)
        elif key not in defaults:
            rows.report("", show(key), show(section), ", ".join((*_SECTIONS, *_DEFAULTS)))
    return rows.catalogue(), rows.left_out


def _add_section(rows: _Collector, section: str, entries: object, defaults: Mapping[str, object]) -> None:
    if not isinstance(entries, list):
        rows.report("", section, show(entries), "a list of mappings")
        return
    fields = _SECTIONS[section].fields
    for index, entry in enumerate(entries):
        name = f"{section}[{index}]"
        if not isinstance(entry, dict):
            rows.report(name, "", show(entry), "a mapping")
            continue
        unknown = [field for field in entry if field not in fields]
        for field in unknown:  # a misspelt zone would make a price that of all zones: such a row is not used
            rows.report(name, show(field), show(entry[field]), "the fields " + ", ".join(fields))
        if not unknown:
            rows.add(section, {**defaults, **entry}, name)


def rows_of(catalogue: Catalogue) -> dict[str, list[dict[str, object]]]:
    """The sections of a catalogue as plain rows, for printing."""
    sections = {"instance_types": catalogue.instances, "units": catalogue.units, "gpus": catalogue.gpus}
    return {section: [msgspec.structs.asdict(price) for price in prices] for section, prices in sections.items()}
