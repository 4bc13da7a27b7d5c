"""Charts: every value that is known is drawn, none that is not, and all can be read without seeing them."""

import re
from xml.etree import ElementTree as ET

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.simulator.report.runs import HOSTILE

from neaptide.model.columns import Floats
from neaptide.simulator.report.charts import SIDE, Chart, Series, legend, plot, top_of
from neaptide.simulator.report.figure import figure, table

SLOTS = 6
EDGES = 1_767_571_200.0 + 3600 * np.arange(SLOTS + 1.0)
values = hnp.arrays(np.float64, SLOTS, elements=st.one_of(st.just(np.nan), st.floats(0, 1e12)))


def chart(*, areas: tuple[Floats, ...] = (), lines: tuple[Floats, ...] = (), bars: tuple[Floats, ...] = ()) -> Chart:
    def series(arrays: tuple[Floats, ...]) -> tuple[Series, ...]:
        return tuple(Series(f"series {number}", each, "first") for number, each in enumerate(arrays))

    return Chart(title="T", summary="S", edges=EDGES, areas=series(areas), lines=series(lines), bars=series(bars))


def coordinates(path: str) -> list[float]:
    return [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", path)]


@given(st.lists(values, max_size=3), st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_shapes_stay_in_their_frame_whatever_the_values(
    areas: list[Floats], lines: list[Floats], bars: list[Floats]
) -> None:
    drawn = ET.fromstring(plot(chart(areas=tuple(areas), lines=tuple(lines), bars=tuple(bars)), "c"))  # noqa: S314 - our own text
    for path in drawn.iter("path"):
        assert all(-0.01 <= each <= SIDE + 0.01 for each in coordinates(path.attrib["d"]))
    for bar in drawn.iter("rect"):
        if bar.attrib.get("class", "").startswith("bar"):
            assert float(bar.attrib["y"]) >= -0.01
            assert float(bar.attrib["y"]) + float(bar.attrib["height"]) <= SIDE + 0.02


def test_a_line_breaks_off_where_a_value_is_unknown() -> None:
    drawn = plot(chart(lines=(np.array([1, 2, np.nan, 3, 4, np.nan]),)), "c")
    found = re.search(r'd="([^"]*)" class="line', drawn)
    assert found is not None
    assert found[1].count("M") == 2
    assert len(coordinates(found[1])) == 8


def test_areas_stand_on_one_another() -> None:
    ones = np.ones(SLOTS)
    assert top_of(chart(areas=(ones, 2 * ones), lines=(ones,))) == 3


def test_a_chart_says_what_it_shows_and_each_slot_its_values() -> None:
    drawn = ET.fromstring(plot(chart(lines=(np.arange(6.0),), bars=(np.full(6, np.nan),)), "c"))  # noqa: S314 - our own text
    assert drawn.attrib["role"] == "img"
    named = {each.attrib.get("id") for each in drawn}
    assert set(drawn.attrib["aria-labelledby"].split()) <= named
    told = [each.text for each in drawn.iter("title")]
    assert told[-1] == "05:00 to 06:00\nseries 0: 5\nseries 0: \N{EN DASH}"


def test_the_table_has_a_row_for_every_slot_and_a_column_for_every_series() -> None:
    parsed = ET.fromstring(table(chart(lines=(np.arange(6.0), np.full(6, np.nan)))))  # noqa: S314 - our own text
    rows = [["".join(cell.itertext()) for cell in row] for row in parsed.iter("tr")]
    assert rows[0] == ["From", "series 0", "series 1"]
    assert rows[1:][2] == ["02:00", "2", "\N{EN DASH}"]
    assert len(rows) == 1 + SLOTS


def test_where_there_is_nothing_a_sentence_says_so() -> None:
    drawn = figure(lambda _: chart(lines=(np.zeros(SLOTS),)), "c", fine=EDGES, coarse=EDGES)
    assert "None, at any time." in drawn
    assert "<svg" not in drawn


def test_hostile_names_stay_text() -> None:
    series = (Series(HOSTILE, np.ones(SLOTS), "first"),)
    hostile = Chart(title=HOSTILE, summary=HOSTILE, edges=EDGES, lines=series)
    for drawn in (plot(hostile, "c"), legend(hostile), table(hostile)):
        assert "<script" not in drawn
        ET.fromstring(drawn)  # noqa: S314 - our own text
