"""The report: one HTML file with everything in it, for phones and desks, in light and in dark."""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from msgspec import Struct

from neaptide.model.columns import Floats
from neaptide.simulator.report import sections
from neaptide.simulator.report.figure import Draw, figure
from neaptide.simulator.report.listing import by_hour, searchable
from neaptide.simulator.report.markup import Markup, element
from neaptide.simulator.report.scale import HOUR, amount
from neaptide.simulator.report.sections import SetUp
from neaptide.simulator.report.slots import edges_of

SLOTS = 96
"""Points of a line."""
DECISIONS = 1000
"""That are listed one by one for each set-up."""


class Report(Struct, frozen=True, kw_only=True):
    """Set-ups, at least one, that ran the same time; sentences under the title, and how the comparison was made."""

    title: str
    lead: Sequence[str]
    set_ups: list[SetUp]
    assumptions: Sequence[str]


def write(report: Report, path: Path) -> None:
    """Write the report.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(render(report), encoding="utf-8")


def render(report: Report) -> str:
    """The whole page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{report.title} · Neaptide"),
        element("link", rel="icon", href="data:,"),
        element("style", _file("page.css")),
    )
    body = element("body", _header(report), element("main", *_sections(report)), element("script", _file("filter.js")))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _header(report: Report) -> Markup:
    lead = [element("p", sentence, class_="lead") for sentence in report.lead]
    return element("header", element("p", "Neaptide", class_="mark"), element("h1", report.title), *lead)


def _sections(report: Report) -> list[Markup]:
    set_ups = report.set_ups
    start, end = set_ups[0].result.start, set_ups[0].result.end
    fine, coarse = edges_of(start, end, most=SLOTS), edges_of(start, end, most=48, shortest=HOUR)
    counts = (sections.contention(set_ups), sections.evictions(set_ups))
    pairs = {
        "Capacity": (sections.nodes(set_ups), sections.money(set_ups)),
        "Offline work": (sections.work(set_ups), sections.waiting(set_ups)),
    }
    return [
        _section("Result", element("ul", *_notes(set_ups), class_="notes"), sections.comparison(set_ups)),
        *(_section(title, _figures("pair", _slug(title), draws, fine, coarse)) for title, draws in pairs.items()),
        _utilisation(set_ups, fine, coarse),
        _section("What it cost the work", _figures("pair", "harm", counts, coarse, coarse)),
        _decisions(set_ups, coarse),
        _section("Decisions, one by one", searchable(set_ups, most=DECISIONS)),
        _section("How to read this", element("ul", *(element("li", sentence) for sentence in report.assumptions))),
    ]


def _notes(set_ups: list[SetUp]) -> list[Markup]:
    return [
        element("li", element("b", each.name, class_=f"key {sections.colour(place, len(set_ups))}"), f": {each.note}")
        for place, each in enumerate(set_ups)
    ]


def _figures(class_: str, name: str, draws: Iterable[Draw], fine: Floats, coarse: Floats) -> Markup:
    figures = (figure(draw, f"{name}-{place}", fine=fine, coarse=coarse) for place, draw in enumerate(draws))
    return element("div", *figures, class_=class_)


def _utilisation(set_ups: list[SetUp], fine: Floats, coarse: Floats) -> Markup:
    top = sections.most_cores(set_ups)
    draws = (sections.utilisation(each, top=top) for each in set_ups)
    return _section(
        "Utilisation",
        element("p", "What each band used, and what it had requested, on the same scale for every set-up."),
        _figures("trio", "utilisation", draws, fine, coarse),
    )


def _decisions(set_ups: list[SetUp], coarse: Floats) -> Markup:
    return _section(
        "Decisions, hour by hour",
        *(
            element(
                "details",
                element("summary", element("h3", each.name), f" {amount(len(each.decisions))} decisions"),
                by_hour(each, coarse),
                class_="setup",
                open="open" if place == len(set_ups) - 1 else None,
            )
            for place, each in enumerate(set_ups)
        ),
    )


def _section(title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title, id=_slug(title)), *content, aria_labelledby=_slug(title))


def _slug(title: str) -> str:
    return "-".join("".join(each if each.isalnum() else " " for each in title.lower()).split())


def _file(name: str) -> Markup:
    """Our own style or script: the text of a file beside this one."""
    return Markup((files("neaptide.simulator.report") / name).read_text(encoding="utf-8"))
