"""Builds the binary that holds every component from the Go module, once, and keeps it by what it was built from."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.toolchain import Go, Version, find_go, parse_version

LINKS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "kwok",
    "testbed-pki", "testbed-stages", "neaptide-oracle",
)  # fmt: skip
"""Names by which the one binary is each component, and its helpers."""

_BINARY = "controlplane"
_VERSIONED_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_TAIL = 20  # lines of the compiler shown when it fails


def cache_folder() -> Path:
    """Where builds are kept; nothing in it is missed when it is removed."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neaptide" / "testbed"


def ensure_built(report: Callable[[float], None]) -> Path:
    """The folder with a link for each component, and the folder `stages`; built first where it is not in the cache.

    Args:
        report: is told the part of the build that is done, 0 to 1, if there is something to build.

    Raises:
        TestbedError: the sources are not here, there is no Go, or it failed.
    """
    cache, sources = cache_folder(), _sources()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits for the build of the first
        go = find_go(_directive(sources), cache, report)
        folder = cache / content_hash(sources, go.release)
        if not folder.exists():
            unfinished = cache / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            _build(go, sources, unfinished, report)
            unfinished.rename(folder)
    return folder


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


def _sources() -> Path:
    here = Path(__file__).parent
    for folder in (here / "go", here.parents[2] / "testbed"):  # in a wheel, in a checkout
        if (folder / "go.mod").exists():
            return folder
    raise TestbedError("the testbed's Go module is not here; install neaptide from its wheel or work in a checkout")


def _directive(sources: Path) -> Version:
    found = re.search(r"^go (\S+)$", (sources / "go.mod").read_text(), re.MULTILINE)
    return parse_version(found.group(1)) if found else ()


def _build(go: Go, sources: Path, folder: Path, report: Callable[[float], None]) -> None:
    folder.mkdir()
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    report(0.0)
    packages = 0
    for line in _lines([go.command, "list", "-deps", "."], sources, environment):
        packages += not line.startswith("go: ")  # go: downloading ...
        report(0.0)
    flags = ["-v", "-trimpath", "-ldflags", f"-s -w {_stamps(required_versions(sources))}"]
    command = ["nice", "-n", "10", go.command, "build", *flags, "-o", str(folder / _BINARY), "."]
    for done, _ in enumerate(_lines(command, sources, environment)):
        report(min(1.0, done / packages))
    for link in LINKS:
        (folder / link).symlink_to(_BINARY)
    subprocess.run([folder / "testbed-stages", folder / "stages"], check=True)


def _stamps(versions: Mapping[str, str]) -> str:
    """What makes the components tell their version, which a release stamps into them too."""
    kubernetes = versions["k8s.io/kubernetes"]
    major, minor, *_ = parse_version(kubernetes)
    stamps = {"sigs.k8s.io/kwok/pkg/consts.Version": versions["sigs.k8s.io/kwok"].removeprefix("v")}
    for package in _VERSIONED_PACKAGES:
        stamps[f"{package}.gitVersion"] = kubernetes
        stamps[f"{package}.gitMajor"], stamps[f"{package}.gitMinor"] = str(major), str(minor)
    return " ".join(f"-X {name}={value}" for name, value in stamps.items())


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
