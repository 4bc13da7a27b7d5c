"""YAML is read by safe loaders, and nothing in it brings the process down."""

import pytest

from neaptide.model.yaml_text import DEEPEST, YamlError, documents, texts


def test_documents_have_yaml_types_and_texts_have_none() -> None:
    assert documents("a: 1\n---\nb: [yes]\n") == [{"a": 1}, {"b": [True]}]
    assert texts("a: 1\nb: [yes]\n") == {"a": "1", "b": ["yes"]}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "- " * 100_000 + "x",
        "".join(" " * level + "a:\n" for level in range(2_000)),
        "{a: " * 10_000,
        "a: *nobody",
        "a: [",
        "2026-13-45",
        "\x00",
    ],
    ids=[
        "brackets",
        "dashes",
        "indentation",
        "braces",
        "no anchor",
        "open bracket",
        "no such day",
        "no character of YAML",
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(YamlError) as caught:
        documents(text)
    assert "\n" not in str(caught.value)


def test_what_nests_less_deep_than_the_limit_is_read() -> None:
    assert documents("[" * DEEPEST + "]" * DEEPEST)
