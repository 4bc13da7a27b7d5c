"""HTML and SVG as text in which nothing can be forgotten to be escaped: only what `element` made counts as markup."""

from html import escape
from typing import Final

VOID: Final = frozenset({"br", "col", "hr", "input", "link", "meta"})
"""HTML elements that have no end tag."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """One element.

    Args:
        name: its tag.
        children: text, which is escaped, or markup, which is not.
        attributes: `class_` is written `class` and `stroke_width` is written `stroke-width`; None leaves one out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value if isinstance(value, str) else number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: "tuple[str, ...] | list[str]", between: str = "") -> Markup:
    """Parts one after the other, each escaped unless it is markup."""
    return Markup(between.join(part if isinstance(part, Markup) else text(part) for part in parts))


def text(value: str) -> str:
    """Escaped; characters that neither HTML nor XML allows become the sign for that."""
    return escape("".join(each if _allowed(each) else "\N{REPLACEMENT CHARACTER}" for each in value))


def number(value: float) -> str:
    """A coordinate: at most two decimals, no more digits than needed."""
    return f"{round(value, 2) + 0.0:.12g}"


def _allowed(character: str) -> bool:
    code = ord(character)
    control = code < 0x20 or 0x7F <= code < 0xA0
    return (not control or character in "\t\n") and not 0xD800 <= code < 0xE000 and code & 0xFFFE != 0xFFFE
