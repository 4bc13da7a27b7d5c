"""Images without a registry: made on the spot of this machine's files, one layer each, as an OCI archive that containerd imports."""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes.host import search_path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ELF = b"\x7fELF"
_FOLDERS = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var")
_ACCOUNTS = {"/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "/etc/group": b"root:x:0:\n"}
_MOST_LINKS = 40  # as many as the kernel follows


class Image(Struct, frozen=True, kw_only=True):
    """What an image holds and what runs in it.

    Attributes:
        name: with a tag other than `latest`, so that nobody tries to pull it.
        host: files and folders of this machine, at the same place in the image, with the shared libraries that their programs want.
        files: more of them, by their place in the image: a path of this machine, with the shared libraries that it wants and that are not among these, or the content.
        shell: with busybox and its commands in /bin, where nothing else has their names.
    """

    name: str
    host: Sequence[str] = ()
    files: Mapping[str, Path | bytes] = {}
    shell: bool = True
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = {}


BUSYBOX = Image(name="testbed.neaptide.io/busybox:1", command=("/bin/sh",))
PAUSE = Image(
    name="testbed.neaptide.io/pause:1",
    entrypoint=("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 1000000 & wait; done"),
)
"""Holds a pod's namespaces; the shell's `wait` buries orphans of a pod whose containers share one process namespace."""


def write(image: Image, archive: Path) -> Path:
    """Make an image; the same image of the same files is the same to the byte.

    Raises:
        TestbedError: a file is not there, or a program's library is not.
    """
    layer = _layer(image)
    settings = {
        "Env": [
            f"{name}={value}" for name, value in {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **image.environment}.items()
        ],
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
    }
    config = _json(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {name: value for name, value in settings.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("config.v1+json", config),
            "layers": [_descriptor("layer.v1.tar", layer)],
        }
    )
    tag = image.name.rpartition(":")[2]
    notes = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "manifests": [{**_descriptor("manifest.v1+json", manifest), "annotations": notes}]}
    with tarfile.open(archive, "w") as tar:
        _put(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _put(tar, "index.json", _json(index))
        for blob in (config, layer, manifest):
            _put(tar, "blobs/sha256/" + _digest(blob).partition(":")[2], blob)
    return archive


class _Tree:
    """The files of an image by their place in it, without a link among their parents: what a path means there is settled when it is added."""

    def __init__(self) -> None:
        self.files: dict[str, Path | bytes] = {}
        self.links: dict[str, str] = {}

    def __contains__(self, place: str) -> bool:
        found = self._resolved(place)
        return found in self.files or found in self.links

    def add(self, place: str, content: Path | bytes) -> None:
        self.files[self._resolved(place)] = content

    def link(self, place: str, target: str) -> None:
        self.links[self._resolved(place)] = target

    def add_host(self, path: str) -> Iterator[Path]:
        """Add a path of this machine with the links on the way to it and below it; gives the files that were added."""
        real = self._add_links(path)
        if not real.is_dir():
            self.files[str(real)] = real
            yield real
            return
        for entry in sorted(real.iterdir()):
            if entry.is_symlink() and not entry.exists():
                continue  # leads nowhere on this machine either
            if entry.is_symlink() or entry.is_dir() or entry.is_file():
                yield from self.add_host(str(entry)) if not self._seen(entry) else ()

    def _seen(self, entry: Path) -> bool:
        return str(entry) in self.files or str(entry) in self.links

    def _add_links(self, path: str) -> Path:
        """Where a path of this machine leads, each link on the way added."""
        for _ in range(_MOST_LINKS):
            way = [PurePosixPath(path), *PurePosixPath(path).parents]
            link = next((Path(each) for each in reversed(way) if Path(each).is_symlink()), None)
            if link is None:
                if not Path(path).exists():
                    raise TestbedError(f"{path} is not on this machine")
                return Path(path)
            target = link.readlink()
            self.links[str(link)] = str(target)
            path = os.path.normpath(link.parent / target / PurePosixPath(path).relative_to(link))
        raise TestbedError(f"{path}: the links to it go in a circle")

    def _resolved(self, place: str) -> str:
        parent, name = os.path.split(os.path.normpath(place))
        if parent == "/":
            return f"/{name}"
        above = self._resolved(parent)
        if above in self.links:
            above = self._resolved(str(PurePosixPath(above).parent / self.links[above]))
        return f"{above}/{name}"


def _layer(image: Image) -> bytes:
    tree = _Tree()
    for path in image.host:
        for file in [*tree.add_host(path)]:
            for library in _libraries(file):
                list(tree.add_host(library))
    sources = {str(content) for content in image.files.values() if isinstance(content, Path)}
    for place, content in {**_ACCOUNTS, **image.files}.items():
        tree.add(place, content)
        for library in _libraries(content) if isinstance(content, Path) else ():
            if library not in sources:
                list(tree.add_host(library))
    if image.shell:
        _add_shell(tree)
    return _tar(tree)


def _add_shell(tree: _Tree) -> None:
    busybox = shutil.which("busybox", path=search_path())
    if busybox is None:
        raise TestbedError("busybox is not on this machine; as root: apt-get install busybox-static")
    tree.add("/bin/busybox", Path(busybox))
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for command in listed:
        if not any(f"{folder}/{command}" in tree for folder in ("/bin", "/usr/bin", "/sbin", "/usr/sbin")):
            tree.link(f"/bin/{command}", "busybox")


def _libraries(file: Path) -> list[str]:
    """The shared libraries and the loader that a program or a library wants; nothing for any other file."""
    with file.open("rb") as opened:
        if opened.read(4) != _ELF:
            return []
    found = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False)  # noqa: S607 - libc's own, wherever it is
    missing = [line.split()[0] for line in found.stdout.splitlines() if line.endswith("not found")]
    # Of those in a folder of their own, who loads the first says where the others are: beside it.
    if any(not (file.parent / name).exists() for name in missing):
        raise TestbedError(f"{file} wants libraries that are not on this machine:\n{found.stdout}")
    words = (word for line in found.stdout.splitlines() for word in line.split())
    return [os.path.normpath(word) for word in words if word.startswith("/") and Path(word).exists()]


def _tar(tree: _Tree) -> bytes:
    folders = set(_FOLDERS)
    for place in [*tree.files, *tree.links]:
        folders.update(str(each).lstrip("/") for each in PurePosixPath(place).parents)
    folders -= {"", *(link.lstrip("/") for link in tree.links)}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for folder in sorted(folders):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        for place, link in sorted(tree.links.items()):
            info = tarfile.TarInfo(place.lstrip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
        for place, content in sorted(tree.files.items(), key=lambda each: each[0]):
            mode = 0o644 if isinstance(content, bytes) else content.stat().st_mode & 0o7777
            _put(tar, place.lstrip("/"), content if isinstance(content, bytes) else content.read_bytes(), mode)
    return target.getvalue()


def _put(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _descriptor(kind: str, content: bytes) -> dict[str, str | int]:
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
