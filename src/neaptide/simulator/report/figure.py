"""A chart on a page: its title, legend, frame, and its values as a table for whoever would rather read them."""

from collections.abc import Callable

from neaptide.model.columns import Floats
from neaptide.simulator.report.charts import Chart, legend, plot, top_of
from neaptide.simulator.report.markup import Markup, element
from neaptide.simulator.report.scale import clock

Draw = Callable[[Floats], Chart]
"""Makes the same chart over other slots."""


def figure(draw: Draw, identity: str, *, fine: Floats, coarse: Floats) -> Markup:
    """A chart with its table; a sentence where there is nothing to draw.

    Args:
        draw: the chart.
        identity: unique on the page.
        fine: edges of the slots that are drawn.
        coarse: edges of the slots that are the table's rows.
    """
    chart = draw(fine)
    if top_of(chart) == 0:
        nothing = element("p", "None, at any time.", class_="nothing")
        return element(
            "figure", element("figcaption", element("h3", chart.title), element("p", chart.summary)), nothing
        )
    return element(
        "figure",
        element("figcaption", element("h3", chart.title), element("p", chart.summary)),
        legend(chart) if len(chart.series) > 1 else "",
        element("div", plot(chart, identity), class_="frame"),
        element("details", element("summary", f"{chart.title}: the numbers"), table(draw(coarse))),
        id=identity,
    )


def table(chart: Chart) -> Markup:
    """A chart's values, one row a slot."""
    edges = chart.edges.tolist()
    head = element(
        "tr", element("th", "From", scope="col"), *(element("th", each.label, scope="col") for each in chart.series)
    )
    rows = [
        element(
            "tr",
            element("th", clock(begin), scope="row"),
            *(element("td", chart.format(float(each.values[slot]))) for each in chart.series),
        )
        for slot, begin in enumerate(edges[:-1])
    ]
    return scrolled(element("table", element("thead", head), element("tbody", *rows)), f"{chart.title}, table")


def scrolled(content: Markup, label: str) -> Markup:
    """What may be wider or longer than its place scrolls inside it, by keyboard as well."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)
