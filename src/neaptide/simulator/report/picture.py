"""A picture of set-ups as an SVG file of its own: what they cost over the day, and the figures beside it."""

from importlib.resources import files

from neaptide.simulator.report import sections
from neaptide.simulator.report.charts import layers
from neaptide.simulator.report.markup import Markup, element
from neaptide.simulator.report.scale import amount, dollars, percent
from neaptide.simulator.report.sections import SetUp, colour, dollars_per_day
from neaptide.simulator.report.slots import edges_of

WIDTH, HEIGHT = 920, 400
LEFT, TOP, BOTTOM, LEGEND = 68, 92, 48, 268
SLOTS = 144


def picture(title: str, set_ups: list[SetUp]) -> str:
    """The picture; it brings its own paper, so that it can be read on any page, in light and in dark."""
    result = set_ups[0].result
    chart = sections.money(set_ups)(edges_of(result.start, result.end, most=SLOTS))
    frame = element(
        "svg",
        *layers(chart),
        x=LEFT,
        y=TOP,
        width=WIDTH - LEFT - LEGEND,
        height=HEIGHT - TOP - BOTTOM,
        class_="plot",
    )
    told = "; ".join(f"{each.name}: {dollars(dollars_per_day(each.result))} a day" for each in set_ups)
    drawing = element(
        "svg",
        element("title", title),
        element("desc", f"{chart.title}. {told}."),
        element("style", Markup((files("neaptide.simulator.report") / "picture.css").read_text(encoding="utf-8"))),
        element("rect", width="100%", height="100%", rx=10, class_="paper"),
        element("text", title, x=28, y=42, class_="title"),
        element("text", "US dollars per hour for nodes, over one day of the same work", x=28, y=66),
        frame,
        *(_entry(each, colour(place, len(set_ups)), place) for place, each in enumerate(set_ups)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )
    return drawing + "\n"


def _entry(set_up: SetUp, css: str, place: int) -> Markup:
    """A set-up's name and figures, beside the chart."""
    summary = set_up.result.summary
    nodes = f"{amount(summary.nodes_mean)} nodes, {percent(summary.cpu_use_mean)} of CPU used"
    x, y = WIDTH - LEGEND + 36, TOP + 12 + place * 88
    return element(
        "g",
        element("line", x1=x, x2=x + 26, y1=y - 4, y2=y - 4, class_=f"line {css}"),
        element("text", set_up.name, x=x + 36, y=y, class_="name"),
        element("text", f"{dollars(dollars_per_day(set_up.result))} a day", x=x, y=y + 27, class_=f"money {css}"),
        element("text", nodes, x=x, y=y + 48),
    )
