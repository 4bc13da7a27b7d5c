"""The image's recipe, as far as it can be held without a container engine: what it copies is there, what it runs runs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.charts.helm import ROOT

from neaptide.placement.kernels.jit import HAVE_NUMBA

RECIPE = ROOT / "Containerfile"


class Step(NamedTuple):
    """One instruction of the recipe; `stage` counts from 0."""

    stage: int
    word: str
    text: str


def steps() -> list[Step]:
    lines = [line for line in RECIPE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    stage, found = -1, []
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        word, _, text = line.strip().partition(" ")
        stage += word == "FROM"
        if word:
            found.append(Step(stage, word, " ".join(text.split())))
    return found


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    for step in steps():
        if step.word == "COPY" and not step.text.startswith("--from"):
            for source in step.text.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source.split('/')[0]}" in ignored


def test_every_package_comes_with_its_hash() -> None:
    """And nothing else is fetched: the project itself is built from the files that were copied."""
    for step in steps():
        for command in re.split("&&", step.text) if step.word == "RUN" else ():
            if "pip install" in command or "pip wheel" in command:
                assert "--require-hashes" in command or "--no-deps" in command
    for name in ("build", "runtime"):
        pins = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        assert all("--hash=sha256:" in each for each in re.split(r"\n(?=[a-z])", pins.strip()))


def test_it_does_not_run_as_root_and_the_chart_runs_it_as_the_same_user() -> None:
    last = [step for step in steps() if step.stage == 1]
    (user,) = [step.text for step in last if step.word == "USER"]
    assert user == "65532:65532"
    assert "runAsUser: 65532" in (ROOT / "charts/neaptide/templates/stateful-set.yaml").read_text(encoding="utf-8")
    assert [step.word for step in last][-3:] == ["USER", "ENTRYPOINT", "CMD"]


@pytest.mark.slow
@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed: there is no machine code to compile")
def test_the_code_that_is_compiled_into_the_image_is_used_under_a_read_only_root(tmp_path: Path) -> None:
    compiled, copied = tmp_path / "compiled", tmp_path / "tmp" / "compiled"
    (warming,) = [step.text for step in steps() if "warm()" in step.text]
    code = re.search(r'-c "([^"]+)"', warming)
    assert code is not None
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    run([sys.executable, "-c", code[1]], **generic, NUMBA_CACHE_DIR=str(compiled))
    before = files(compiled)
    assert before

    (entry,) = [step.text for step in steps() if step.word == "ENTRYPOINT"]
    shell, option, script, name = (part for part in re.findall(r'"((?:[^"\\]|\\.)*)"', entry))
    script = script.replace('\\"', '"').replace("/opt/neaptide/compiled", str(compiled))
    script = script.replace("exec neaptide", f"exec {sys.executable} -c '{code[1]}'")
    run([shell, option, script, name], **generic, NUMBA_CACHE_DIR=str(copied))
    assert files(copied) == before


def files(folder: Path) -> dict[str, bytes]:
    """Indices and code; a process that had to compile would have written either anew."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def run(command: list[str], **environment: str) -> None:
    env = {**os.environ, **environment}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - the recipe's own
    assert found.returncode == 0, found.stderr
