"""The report as a file: well formed, complete, in need of nothing else, and safe whatever things are called."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.simulator.report.runs import HOSTILE, report, set_up

from neaptide.simulator.report.markup import VOID
from neaptide.simulator.report.page import Report, render, write
from neaptide.simulator.report.picture import picture


class Reader(HTMLParser):
    """Checks that elements are closed as they were opened; collects identifiers, addresses and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert len(given) == len(attrs), f"an attribute of <{tag}> stands twice"
        assert not [name for name in given if name.startswith("on")]
        self.ids += [given["id"]] if "id" in given else []
        self.labels += given.get("aria-labelledby", "").split()
        self.addresses += [given[name] for name in ("href", "src", "action", "xlink:href") if name in given]
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def page() -> str:
    return render(report(count=400))


def test_the_page_is_well_formed_and_refers_to_nothing_outside(page: str) -> None:
    read = Reader(page)
    assert read.open == []
    assert read.addresses == ["data:,"]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)


def test_identifiers_are_unique_and_labels_name_them(page: str) -> None:
    read = Reader(page)
    assert len(read.ids) == len(set(read.ids))
    assert set(read.labels) <= set(read.ids)


def test_every_part_is_there_with_the_figures_of_every_set_up(page: str) -> None:
    text = Reader(page).text
    for part in ("Result", "Capacity", "Offline work", "Utilisation", "Evictions", "Decisions, one by one"):
        assert part in text
    for each in report().set_ups:
        assert text.count(each.name) > 10
        assert f"{each.result.summary.jobs_finished} of {each.result.summary.jobs_arrived}" in text
    assert "416 of 416" not in text
    assert "408 of 408 decisions are listed." in text


def test_what_is_not_listed_is_said() -> None:
    text = Reader(render(report(count=3000))).text
    assert "1\u202f008 of 3\u202f008 decisions are listed: rare kinds all" in text
    assert "3\u202f000 decisions" in text


@pytest.mark.parametrize(
    "name", [HOSTILE, "--><!--", "</style></script><b>", "\ud800\ufffe", "\N{RIGHT-TO-LEFT OVERRIDE}"]
)
def test_names_are_text_and_nothing_else(name: str) -> None:
    page = render(report(name=name))
    read = Reader(page)
    assert read.scripts == 1
    assert read.open == []
    page.encode("utf-8")


def test_one_set_up_is_enough_and_its_money_may_be_unknown(tmp_path: Path) -> None:
    alone = set_up("Alone")
    write(Report(title="Run", lead=[], set_ups=[alone], assumptions=[]), tmp_path / "report.html")
    assert Reader((tmp_path / "report.html").read_text(encoding="utf-8")).open == []


def test_the_same_run_gives_the_same_file() -> None:
    assert render(report()) == render(report())


@pytest.mark.parametrize("name", ["", HOSTILE], ids=["usual names", "hostile names"])
def test_the_picture_is_well_formed_and_refers_to_nothing_outside(name: str) -> None:
    drawn = picture("A day" + name, report(name=name).set_ups)
    ET.fromstring(drawn)  # noqa: S314 - our own text
    assert re.findall(r"https?:[^\"]*", drawn) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in drawn
