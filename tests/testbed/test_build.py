"""What a build is named by, and which Go makes it."""

import os
from pathlib import Path

import pytest

from neaptide.testbed.build import content_hash, required_versions
from neaptide.testbed.toolchain import find_go, parse_version

FILES = {
    "main.go": "package main\n",
    "go.mod": "module m\n\ngo 1.26.0\n\nrequire (\n\texample.org/a v1.2.3\n\texample.org/b v0.1.0 // indirect\n)\n",
    "go.sum": "sum\n",
}


@pytest.fixture
def module(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_makes_another_build(module: Path, name: str) -> None:
    before = content_hash(module, "go1.26.8 linux/amd64")
    assert content_hash(module, "go1.26.8 linux/amd64") == before
    (module / name).write_text(FILES[name] + "\n")
    assert content_hash(module, "go1.26.8 linux/amd64") != before


def test_a_file_of_no_interest_and_the_compiler(module: Path) -> None:
    before = content_hash(module, "go1.26.8 linux/amd64")
    (module / "README.md").write_text("about")
    assert content_hash(module, "go1.26.8 linux/amd64") == before
    assert content_hash(module, "go1.26.9 linux/amd64") != before


def test_the_versions_that_a_module_requires(module: Path) -> None:
    assert required_versions(module) == {"example.org/a": "v1.2.3", "example.org/b": "v0.1.0"}


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8 linux/amd64", (1, 26, 8)), ("v1.36.3", (1, 36, 3)), ("1.26", (1, 26)), ("devel", ())],
    ids=["a compiler", "a module", "a directive", "none"],
)
def test_versions_are_found_in_what_names_them(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def _go(folder: Path, release: str) -> Path:
    folder.mkdir(parents=True)
    command = folder / "go"
    command.write_text(f"#!/bin/sh\necho go version {release} linux/amd64\n")
    command.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("system", "chosen"),
    [("go1.26.1", "go1.26.1"), ("go1.30.0", "go1.30.0"), ("go1.25.9", "go1.26.6"), (None, "go1.26.6")],
    ids=["new enough", "newer", "too old", "none"],
)
def test_the_systems_go_is_taken_if_it_is_new_enough_and_else_that_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str | None, chosen: str
) -> None:
    _go(tmp_path / "cache" / "go-1.26.0" / "bin", "go1.26.6")
    path = str(_go(tmp_path / "system", system)) if system else str(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join((path, "/usr/bin", "/bin")))
    assert find_go((1, 26, 0), tmp_path / "cache", lambda _: None).release == f"{chosen} linux/amd64"
