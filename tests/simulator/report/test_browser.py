"""The report in a browser: phone and desk, light and dark; the console silent, nothing cut off, the filter at work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chromium import BINARY, Page, chromium
from tests.simulator.report.runs import HOSTILE, report

from neaptide.simulator.report.page import write

pytestmark = pytest.mark.skipif(BINARY is None, reason="chromium is not installed (make system-deps installs it)")
SCREENS = {"phone": (375, 812), "desk": (1280, 900)}

CONTRASTS = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = Array.from(canvas.getImageData(0, 0, 1, 1).data, (byte) => {
      const share = byte / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const against = (colour) => {
    const own = light(colour);
    return (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05);
  };
  const least = (selector, property) =>
    Math.min(...Array.from(document.querySelectorAll(selector), (each) => against(getComputedStyle(each)[property])));
  return {
    text: least("p, li, td, th, small, summary, label, code, h1, h2, h3", "color"),
    axes: least(".plot text", "fill"),
    lines: least("path.line", "stroke"),
  };
})()
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write(report(count=400), path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def show(browser: Page, path: Path, *, screen: str = "desk", dark: bool = False) -> Page:
    width, height = SCREENS[screen]
    browser.emulate(width=width, height=height, dark=dark)
    browser.open(path.as_uri())
    return browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_cut_off_and_the_console_is_silent(
    browser: Page, file: Path, tmp_path: Path, screen: str, *, dark: bool
) -> None:
    page = show(browser, file, screen=screen, dark=dark)
    width = SCREENS[screen][0]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = "Array.from(document.querySelectorAll('.plot text'), (each) => each.getBoundingClientRect())"
    assert page.evaluate(f"Math.min(...{outside}.map((box) => box.left))") >= 0
    assert page.evaluate(f"Math.max(...{outside}.map((box) => box.right))") <= width
    page.screenshot(tmp_path / f"{screen}.png")
    assert (tmp_path / f"{screen}.png").stat().st_size > 20_000
    assert page.errors == []
    assert set(page.requests) <= {file.as_uri(), "data:,"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_lines_and_axes_stand_out_from_the_paper(browser: Page, file: Path, *, dark: bool) -> None:
    found: dict[str, Any] = show(browser, file, dark=dark).evaluate(CONTRASTS)
    assert found["text"] >= 4.5
    assert found["axes"] >= 4.5
    assert found["lines"] >= 3


def test_light_and_dark_differ(browser: Page, file: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    assert show(browser, file).evaluate(paper) != show(browser, file, dark=True).evaluate(paper)


def test_the_filter_shows_what_fits_all_its_fields(browser: Page, file: Path) -> None:
    page = show(browser, file)

    def after(script: str) -> list[str]:
        page.evaluate(
            f"(() => {{ const form = document.getElementById('filter'); {script};"
            "form.dispatchEvent(new Event('input', {bubbles: true})) })()"
        )
        shown = "Array.from(document.querySelectorAll('#decisions li:not([hidden])'), (each) => each.dataset.by)"
        found: list[str] = page.evaluate(shown)
        return found

    assert len(after("")) == 408
    assert set(after("form.elements.by.value = 'node'")) == {"node"}
    assert after("form.elements.text.value = 'MEMORY  no-such-word'") == []
    assert len(after("form.elements.text.value = 'batch/job-399'")) == 1
    assert page.evaluate("document.querySelector('#filter output').textContent") == "1 of 408 fit"
    assert len(after("form.elements.by.value = ''; form.elements.text.value = ''")) == 408
    assert page.errors == []


def test_every_part_that_scrolls_can_be_reached_by_keyboard(browser: Page, file: Path) -> None:
    script = "Array.from(document.querySelectorAll('.scroll'), (each) => each.tabIndex)"
    assert set(show(browser, file).evaluate(script)) == {0}


def test_hostile_names_run_nothing(browser: Page, tmp_path: Path) -> None:
    write(report(name=HOSTILE), tmp_path / "hostile.html")
    page = show(browser, tmp_path / "hostile.html", screen="phone")
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.errors == []
