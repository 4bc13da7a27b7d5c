"""Images are made of this machine's files alone: the same to the byte each time, complete, and where the files were."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes import images
from neaptide.testbed.realnodes.images import Image

NAME = "testbed.neaptide.io/one:1"


@pytest.fixture(autouse=True)
def busybox() -> None:
    if shutil.which("busybox") is None:
        pytest.skip("busybox is not installed (make system-deps)")


def test_an_image_is_the_same_to_the_byte_each_time(tmp_path: Path) -> None:
    image = Image(name=NAME, host=[sys.executable], files={"/etc/motd": b"hello"}, environment={"A": "b"})
    assert images.write(image, tmp_path / "1").read_bytes() == images.write(image, tmp_path / "2").read_bytes()


def test_its_manifest_names_it_and_what_runs_in_it(tmp_path: Path) -> None:
    with tarfile.open(
        images.write(Image(name=NAME, entrypoint=["/bin/sh", "-c"], command=["date"]), tmp_path / "image")
    ) as tar:
        index = _json(tar, "index.json")
        manifest = _json(tar, _blob(index["manifests"][0]))
        config = _json(tar, _blob(manifest["config"]))["config"]
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == NAME
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/sh", "-c"], ["date"])


def test_a_program_brings_its_libraries_and_the_links_on_the_way_and_runs_from_them_alone(tmp_path: Path) -> None:
    program = shutil.which("perl") or ""
    _unpack(Image(name=NAME, host=[program]), tmp_path)
    loader = next(file for file in tmp_path.rglob("ld-linux*") if not file.is_symlink())
    libraries = sorted({str(file.parent) for file in tmp_path.rglob("*.so*")})
    command = [str(loader), "--library-path", ":".join(libraries), f"{tmp_path}{program}"]
    ran = subprocess.run([*command, "-e", "print 42"], capture_output=True, text=True, check=True)  # noqa: S603 - a copy of perl
    assert ran.stdout == "42"
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")


def test_a_folder_comes_with_all_below_it_and_with_where_its_links_lead(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    (source / "a/b/file").write_text("content")
    (tmp_path / "elsewhere").write_text("linked")
    (source / "link").symlink_to("../elsewhere")
    (source / "round").symlink_to(".")
    (source / "lost").symlink_to("nowhere")
    target = tmp_path / "target"
    _unpack(Image(name=NAME, host=[str(source)], shell=False), target)
    copied = target / str(source).lstrip("/")
    assert (copied / "a/b/file").read_text() == "content"
    assert (copied / "link").read_text() == "linked"
    assert not (copied / "lost").is_symlink()


def test_a_file_may_be_given_by_content_and_stands_before_a_command_of_the_shell(tmp_path: Path) -> None:
    _unpack(Image(name=NAME, files={"/usr/bin/date": b"#!/bin/sh\n"}), tmp_path)
    assert (tmp_path / "usr/bin/date").read_bytes() == b"#!/bin/sh\n"
    assert not (tmp_path / "bin/date").is_symlink()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="/no/such/file is not on this machine"):
        images.write(Image(name=NAME, host=["/no/such/file"]), tmp_path / "image")


def _unpack(image: Image, target: Path) -> None:
    target.mkdir(exist_ok=True)
    with tarfile.open(images.write(image, target / ".archive")) as tar:
        manifest = _json(tar, _blob(_json(tar, "index.json")["manifests"][0]))
        layer = tar.extractfile(_blob(manifest["layers"][0]))
        assert layer is not None
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as files:
            files.extractall(target)  # noqa: S202 - made by us just now


def _blob(descriptor: dict[str, str]) -> str:
    return "blobs/sha256/" + descriptor["digest"].partition(":")[2]


def _json(tar: tarfile.TarFile, name: str) -> Any:
    content = tar.extractfile(name)
    assert content is not None
    return json.loads(content.read())
