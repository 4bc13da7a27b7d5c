"""Builds programs from the Go modules beside this package, once, and keeps them by what they were built from."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.toolchain import Go, Version, find_go, parse_version

_TAIL = 20  # lines of the compiler shown when it fails


class Recipe(NamedTuple):
    """How a binary is made.

    Attributes:
        module: the folder of the Go module, from the testbed's own.
        package: of the module's packages, or of those it requires, the one to build.
        links: names by which the one binary is several programs.
        copies: folders of modules that are wanted beside the binary, each at its path in the module.
        stamps: variables of the program that tell its version, by the versions that the module requires.
    """

    binary: str
    module: str
    package: str
    stamps: Callable[[Mapping[str, str]], dict[str, str]]
    links: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()


def _kubernetes_stamps(versions: Mapping[str, str]) -> dict[str, str]:
    kubernetes = versions["k8s.io/kubernetes"]
    major, minor, *_ = parse_version(kubernetes)
    stamps = {"sigs.k8s.io/kwok/pkg/consts.Version": versions["sigs.k8s.io/kwok"].removeprefix("v")}
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        stamps[f"{package}.gitVersion"] = kubernetes
        stamps[f"{package}.gitMajor"], stamps[f"{package}.gitMinor"] = str(major), str(minor)
    return stamps


def _helm_stamps(versions: Mapping[str, str]) -> dict[str, str]:
    return {"helm.sh/helm/v4/internal/version.version": versions["helm.sh/helm/v4"]}


def _no_stamps(versions: Mapping[str, str]) -> dict[str, str]:
    del versions
    return {}


def _descheduler_stamps(versions: Mapping[str, str]) -> dict[str, str]:
    return {"sigs.k8s.io/descheduler/pkg/version.version": versions["sigs.k8s.io/descheduler"]}


_STAGES = "testbed-stages"

CONTROL_PLANE = Recipe(
    "controlplane", ".", ".", _kubernetes_stamps,
    ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "kwok",
     "testbed-pki", _STAGES, "neaptide-oracle"),
)  # fmt: skip
"""Every component, and helpers; beside it the folder `stages`."""

_KARPENTER = "sigs.k8s.io/karpenter"

KARPENTER = Recipe(
    "karpenter", "karpenter", f"{_KARPENTER}/kwok", _no_stamps,
    copies=((_KARPENTER, "pkg/apis/crds"), (_KARPENTER, "kwok/apis/crds"), (_KARPENTER, "kwok/examples")),
)  # fmt: skip
"""Its core with its own kwok provider; beside it its CRDs and its examples of instance types."""

HELM = Recipe("helm", "helm", "helm.sh/helm/v4/cmd/helm", _helm_stamps)
DESCHEDULER = Recipe("descheduler", "descheduler", "sigs.k8s.io/descheduler/cmd/descheduler", _descheduler_stamps)


def cache_folder() -> Path:
    """Where builds are kept; nothing in it is missed when it is removed."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neaptide" / "testbed"


def ensure_built(report: Callable[[float], None], recipe: Recipe = CONTROL_PLANE) -> Path:
    """The folder with the binary and its links; built first where it is not in the cache.

    Args:
        report: is told the part of the build that is done, 0 to 1, if there is something to build.
        recipe: of what; by default of the control plane.

    Raises:
        TestbedError: the sources are not here, there is no Go, or it failed.
    """
    cache, sources = cache_folder(), sources_of(recipe)
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / "lock"):
        go = find_go(_directive(sources), cache, report)
    with _alone(cache / f"{recipe.binary}.lock"):
        folder = cache / content_hash(sources, go.release)
        if not folder.exists():
            unfinished = cache / f"{recipe.binary}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            _build(go, recipe, sources, unfinished, report)
            unfinished.rename(folder)
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Who comes second waits for the first."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sources_of(recipe: Recipe) -> Path:
    """The folder of the Go module.

    Raises:
        TestbedError: it is not here.
    """
    here = Path(__file__).parent
    for folder in (here / "go", here.parents[2] / "testbed"):  # in a wheel, in a checkout
        if (folder / "go.mod").exists():
            return folder / recipe.module
    raise TestbedError("the testbed's Go module is not here; install neaptide from its wheel or work in a checkout")


def content_hash(sources: Path, release: str) -> str:
    """What a build is named by: the hash of the module's files and of the compiler's release."""
    digest = hashlib.sha256(release.encode())
    for file in sorted([*sources.glob("*.go"), sources / "go.mod", sources / "go.sum"]):
        content = file.read_bytes()
        digest.update(f"\n{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def required_versions(sources: Path) -> dict[str, str]:
    """The version of each module that go.mod requires."""
    return dict(re.findall(r"^\t(\S+) (v\S+)", (sources / "go.mod").read_text(), re.MULTILINE))


def _directive(sources: Path) -> Version:
    found = re.search(r"^go (\S+)$", (sources / "go.mod").read_text(), re.MULTILINE)
    return parse_version(found.group(1)) if found else ()


def _build(go: Go, recipe: Recipe, sources: Path, folder: Path, report: Callable[[float], None]) -> None:
    folder.mkdir()
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    report(0.0)
    packages = 0
    for line in _lines([go.command, "list", "-deps", recipe.package], sources, environment):
        packages += not line.startswith("go: ")  # go: downloading ...
        report(0.0)
    stamps = " ".join(f"-X {name}={value}" for name, value in recipe.stamps(required_versions(sources)).items())
    output = ["-o", str(folder / recipe.binary)]
    command = ["nice", "-n", "10", go.command, "build", "-v", "-trimpath", "-ldflags", f"-s -w {stamps}", *output]
    for done, _ in enumerate(_lines([*command, recipe.package], sources, environment)):
        report(min(1.0, done / packages))
    for link in recipe.links:
        (folder / link).symlink_to(recipe.binary)
    for module, path in recipe.copies:
        where = [go.command, "list", "-m", "-f", "{{.Dir}}", module]
        root = subprocess.run(where, cwd=sources, env=environment, check=True, capture_output=True, text=True)
        shutil.copytree(Path(root.stdout.strip()) / path, folder / path, copy_function=shutil.copyfile)
    if _STAGES in recipe.links:
        subprocess.run([folder / _STAGES, folder / "stages"], check=True)


def _lines(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """What a command prints, as it comes."""
    tail: deque[str] = deque(maxlen=_TAIL)
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            tail.append(line)
            yield line
    if process.returncode:
        raise TestbedError(f"{' '.join(command[:5])} ... failed:\n{''.join(tail)}")
