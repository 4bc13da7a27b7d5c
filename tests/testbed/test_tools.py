"""Programs of others: those that are built tell the version they were built from, those that are not installed say where to get them."""

import subprocess
from pathlib import Path

import pytest

from neaptide.testbed import tools
from neaptide.testbed.errors import TestbedError


def test_helm_is_the_version_that_its_module_requires(helm: Path) -> None:
    said = subprocess.run([helm, "version", "--short"], capture_output=True, text=True, check=True)  # noqa: S603 - our own build
    assert said.stdout.startswith("v4.")


@pytest.mark.parametrize("program", ["prometheus", "promtool"])
def test_a_program_that_is_not_installed_says_which_package_has_it(
    program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TestbedError, match=f"{program} is not installed; Debian has it in the package prometheus"):
        getattr(tools, program)()


def test_prometheus_and_its_checker_are_of_one_release(prometheus: Path, promtool: Path) -> None:
    releases = set()
    for program in (prometheus, promtool):
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - as installed
        releases.add((said.stdout + said.stderr).split("version ")[1].split()[0])
    assert len(releases) == 1
