"""The wheel holds what the testbed is built from: installed anywhere, it makes the same build as the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neaptide.testbed import build

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as its wheel installs it."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-build-isolation"]
    command = [*pip, "--no-deps", "--no-index", "--target", str(folder), str(CHECKOUT)]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)  # noqa: S603 - pip, on our own sources
    return folder


@pytest.mark.parametrize("recipe", ["CONTROL_PLANE", "HELM", "DESCHEDULER"])
def test_an_installed_wheel_builds_what_the_checkout_builds(installed: Path, recipe: str) -> None:
    code = (
        f"from neaptide.testbed import build; sources = build.sources_of(build.{recipe}); "
        "print(sources); print(build.content_hash(sources, 'go1'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, check=True, cwd=installed, env=environment, capture_output=True, text=True)  # noqa: S603 - our own code
    sources, content = said.stdout.split()
    assert Path(sources).is_relative_to(installed)
    assert content == build.content_hash(build.sources_of(getattr(build, recipe)), "go1")
