"""Helm, as users run it, and what it renders."""

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from neaptide.testbed import tools

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
NEAPTIDE = CHARTS / "neaptide"
INTEROP = CHARTS / "neaptide-interop-crds"

Objects = dict[tuple[str, str], dict[str, Any]]


class Helm:
    """Helm with directories of its own; `kubeconfig` is of the cluster that it talks to."""

    def __init__(self, home: Path, kubeconfig: Path | None = None) -> None:
        folders = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        self._environment = {**os.environ, **folders, "KUBECONFIG": str(kubeconfig or home / "none")}
        self._program = tools.helm()

    def ask(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *map(str, arguments)]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - helm of our own making

    def done(self, *arguments: str | Path) -> str:
        """What it prints; it must succeed."""
        found = self.ask(*arguments)
        assert found.returncode == 0, found.stderr
        return found.stdout

    def refused(self, *arguments: str | Path) -> str:
        """What it complains of; it must fail."""
        found = self.ask(*arguments)
        assert found.returncode != 0, found.stdout
        return found.stderr

    def rendered(self, chart: Path, *arguments: str, release: str = "tide", namespace: str = "here") -> Objects:
        """What a chart makes of values, by kind and name."""
        return by_name(self.done("template", release, chart, f"--namespace={namespace}", *arguments))


def by_name(manifests: str) -> Objects:
    """Manifests by kind and name."""
    objects = [each for each in yaml.safe_load_all(manifests) if each]
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(found) == len(objects)
    return found
