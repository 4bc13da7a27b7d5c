"""Charts over time as SVG: lines, stacked areas and grouped bars, in text that stays as large as it is on any screen.

A chart fills its frame. Positions are percentages of it; shapes are drawn in a square of 1000 by 1000 that is stretched,
while strokes and text are not. Labels of the axes stand outside the frame, where its parent leaves room for them.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Floats
from neaptide.simulator.report.markup import Markup, element, number
from neaptide.simulator.report.scale import amount, clock, highest, ticks, time_ticks

SIDE: Final = 1000.0
Format = Callable[[float | None], str]


class Series(Struct, frozen=True):
    """One quantity: its name, float64[slots] (nan where unknown), and the CSS class that gives its colour and dashes."""

    label: str
    values: Floats
    css: str


class Chart(Struct, frozen=True, kw_only=True):
    """What is drawn over `edges`, float64[slots + 1], seconds since the epoch.

    Attributes:
        title: what it shows, in a few words.
        summary: what a reader who does not see it should know.
        areas: stacked, the first at the bottom.
        lines: above the areas.
        bars: side by side in every slot.
        top: of the axis at least; charts that are to be compared share one.
        format: how a value is written.
    """

    title: str
    summary: str
    edges: Floats
    areas: tuple[Series, ...] = ()
    lines: tuple[Series, ...] = ()
    bars: tuple[Series, ...] = ()
    top: float = 0.0
    format: Format = amount

    @property
    def series(self) -> tuple[Series, ...]:
        """Everything that it shows, as a legend lists it."""
        return self.areas + self.lines + self.bars


def top_of(chart: Chart) -> float:
    """The largest value that a chart reaches."""
    stacked = [np.nansum([each.values for each in chart.areas], axis=0)] if chart.areas else []
    return max(highest([*stacked, *(each.values for each in chart.lines + chart.bars)]), chart.top)


def plot(chart: Chart, identity: str) -> Markup:
    """The chart's SVG element, without a size: it takes that of its parent. `identity` is unique on its page."""
    return element(
        "svg",
        element("title", chart.title, id=f"{identity}-title"),
        element("desc", chart.summary, id=f"{identity}-desc"),
        *layers(chart),
        *_hover(chart),
        class_="plot",
        role="img",
        aria_labelledby=f"{identity}-title {identity}-desc",
    )


def layers(chart: Chart) -> list[Markup]:
    """Axes, then shapes; they fill the SVG element that they are put into."""
    marks = ticks(top_of(chart))
    scale = SIDE / marks[-1]
    x = _middles(chart)
    lines = [element("path", d=_line(x, each.values * scale), class_=f"line {each.css}") for each in chart.lines]
    shapes = [*_areas(chart, scale), *lines, *_bars(chart, scale)]
    stretched = element("svg", *shapes, viewBox=f"0 0 {SIDE:.0f} {SIDE:.0f}", preserveAspectRatio="none")
    return [*_value_axis(chart, marks), *_time_axis(chart), stretched]


def _areas(chart: Chart, scale: float) -> list[Markup]:
    below = np.zeros(len(chart.edges) - 1)
    drawn = []
    for each in chart.areas:
        above = below + np.nan_to_num(each.values)
        x = _middles(chart)
        points = np.concatenate((np.column_stack((x, above * scale)), np.column_stack((x, below * scale))[::-1]))
        drawn.append(element("path", d=_path(points) + "Z", class_=f"area {each.css}"))
        below = above
    return drawn


def _bars(chart: Chart, scale: float) -> list[Markup]:
    if not chart.bars:
        return []
    edges = _across(chart, chart.edges)
    wide = (edges[1:] - edges[:-1]) * 0.8 / len(chart.bars)
    return [
        element(
            "rect",
            x=float(edges[slot] + wide[slot] * (0.125 * len(chart.bars) + place)),
            y=SIDE - float(value) * scale,
            width=float(wide[slot]),
            height=float(value) * scale,
            class_=f"bar {each.css}",
        )
        for place, each in enumerate(chart.bars)
        for slot, value in enumerate(each.values)
        if value > 0
    ]


def _value_axis(chart: Chart, marks: Sequence[float]) -> list[Markup]:
    drawn = []
    for mark in marks:
        y = f"{number(100 - 100 * mark / marks[-1])}%"
        drawn.append(element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid" if mark else "axis"))
        drawn.append(element("text", chart.format(mark), x="0", y=y, dx="-0.6em", dy="0.32em", class_="value"))
    return drawn


def _time_axis(chart: Chart) -> list[Markup]:
    start, end = float(chart.edges[0]), float(chart.edges[-1])
    return [
        element("text", clock(time, end=end), x=_percent(chart, time), y="100%", dy="1.5em", class_="time")
        for time in time_ticks(start, end)
    ]


def _hover(chart: Chart) -> list[Markup]:
    """A strip over every slot that tells its values to whoever points at it."""
    strips = []
    for slot, (begin, end) in enumerate(zip(chart.edges[:-1].tolist(), chart.edges[1:].tolist(), strict=True)):
        told = [f"{each.label}: {chart.format(float(each.values[slot]))}" for each in chart.series]
        middle = f"{number((_share(chart, begin) + _share(chart, end)) * 50)}%"
        strips.append(
            element(
                "g",
                element("line", x1=middle, x2=middle, y1="0", y2="100%"),
                element(
                    "rect",
                    element("title", "\n".join((f"{clock(begin)} to {clock(end, end=float(chart.edges[-1]))}", *told))),
                    x=_percent(chart, begin),
                    y="0",
                    width=f"{number((_share(chart, end) - _share(chart, begin)) * 100)}%",
                    height="100%",
                ),
                class_="slot",
            )
        )
    return strips


def _line(x: Floats, y: Floats) -> str:
    """A path that breaks off where a value is unknown."""
    known = ~np.isnan(y)
    breaks = np.flatnonzero(np.diff(known.astype(np.int8)) != 0) + 1
    pieces = np.split(np.column_stack((x, y)), breaks)
    return "".join(_path(piece) for piece in pieces if len(piece) and not np.isnan(piece[0, 1]))


def _path(points: Floats) -> str:
    """Straight lines through [points, 2] whose second coordinate counts from the bottom."""
    return "M" + "L".join(f"{number(x)} {number(SIDE - y)}" for x, y in points.tolist())


def _middles(chart: Chart) -> Floats:
    edges = _across(chart, chart.edges)
    middles: Floats = (edges[1:] + edges[:-1]) / 2
    return middles


def _across(chart: Chart, times: Floats) -> Floats:
    across: Floats = (times - chart.edges[0]) / (chart.edges[-1] - chart.edges[0]) * SIDE
    return across


def _share(chart: Chart, time: float) -> float:
    return (time - float(chart.edges[0])) / float(chart.edges[-1] - chart.edges[0])


def _percent(chart: Chart, time: float) -> str:
    return f"{number(_share(chart, time) * 100)}%"


def legend(chart: Chart) -> Markup:
    """What the colours and dashes mean, each beside a sample of itself."""
    kinds = [("area", each) for each in chart.areas] + [("line", each) for each in chart.lines]
    kinds += [("bar", each) for each in chart.bars]
    items = [element("li", _sample(kind, each.css), each.label) for kind, each in kinds]
    return element("ul", *items, class_="legend")


def _sample(kind: str, css: str) -> Markup:
    shape = (
        element("line", x1="0", x2="22", y1="6", y2="6", class_=f"line {css}")
        if kind == "line"
        else element("rect", x="5", y="0", width="12", height="12", class_=f"{kind} {css}")
    )
    return element("svg", shape, width="22", height="12", aria_hidden="true")
