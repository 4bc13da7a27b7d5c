"""What a virtual machine is made of; that one runs is seen in tests/agent/test_kernel_v2.py."""

from pathlib import Path

from neaptide.testbed.initramfs import module_files
from neaptide.testbed.vm import lacking


def test_modules_are_loaded_after_what_they_need_and_once(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(
        "fs/9p/9p.ko: net/9p/9pnet.ko fs/netfs.ko\nnet/9p/9pnet.ko:\nfs/netfs.ko:\n"
        "net/9p/9pnet_virtio.ko: drivers/virtio.ko net/9p/9pnet.ko\ndrivers/virtio.ko:\n"
    )
    names = [path.name for path in module_files(tmp_path, ["9p", "9pnet_virtio", "built_in"])]
    assert names == ["netfs.ko", "9pnet.ko", "9p.ko", "virtio.ko", "9pnet_virtio.ko"]


def test_a_kernel_without_its_modules_is_none(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.1.0-9-amd64").touch()
    assert any("linux-image-amd64" in sentence for sentence in lacking(tmp_path))
    modules = tmp_path / "lib/modules/6.1.0-9-amd64"
    modules.mkdir(parents=True)
    (modules / "modules.dep").touch()
    assert not any("linux-image-amd64" in sentence for sentence in lacking(tmp_path))
