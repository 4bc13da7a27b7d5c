"""Markup: everything that is not markup already is escaped, and what comes out is well formed."""

from html import unescape
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.simulator.report.markup import element, join, number, text


@given(st.text(), st.text())
def test_any_text_can_stand_in_an_element_and_in_an_attribute(content: str, title: str) -> None:
    parsed = ET.fromstring(element("p", content, title=title))  # noqa: S314 - our own text
    assert parsed.tag == "p"
    assert (parsed.text or "").count("<") == content.count("<")
    assert not list(parsed)


@given(st.text(alphabet=st.characters(exclude_categories=["C"]), min_size=1))
def test_what_can_be_shown_is_kept_as_it_is(content: str) -> None:
    assert unescape(text(content)) == content


def test_elements_are_not_escaped_again_and_names_of_attributes_are_written_as_markup_has_them() -> None:
    made = element("g", element("b", "1 < 2"), " & ", class_="key first", stroke_width=1.5, hidden=None)
    assert made == '<g class="key first" stroke-width="1.5"><b>1 &lt; 2</b> &amp; </g>'
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert join(["<", element("br")], ", ") == "&lt;, <br>"


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (-0.001, "0"), (1000.0, "1000"), (1.239, "1.24"), (123456.7, "123456.7"), (-2.5, "-2.5"), (7, "7")],
)
def test_coordinates_have_no_more_digits_than_they_need(value: float, written: str) -> None:
    assert number(value) == written
