"""What real nodes could leave on a machine, as lines that can be compared; what belongs to other testbeds that run meanwhile is left out."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_OTHERS = r"neaptide-(?!{label})|\bnt(?!{label})[0-9a-f]{{6}}-"
_VOLATILE = re.compile(r"/(drop_caches|compact_memory|stat_refresh|random|tcp_mem|udp_mem|.*_entries|.*secret.*)$")
_FOLDERS = (
    "/run",
    "/run/netns",
    "/opt",
    "/etc/cni",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/pods",
    "/var/log/containers",
)
_SETTINGS = (
    "vm/*",
    "kernel/panic*",
    "kernel/keys/*",
    "net/ipv4/*",
    "net/ipv[46]/conf/all/*",
    "net/ipv[46]/conf/default/*",
)
_SETTLED_WITHIN = 15.0


def footprint(directory: Path, label: str) -> set[str]:
    """Mounts, links, addresses, routes, control groups, settings of the kernel, folders of the system, and processes of a testbed's nodes."""
    others = re.compile(_OTHERS.format(label=label))
    return {
        line for part in (_mounts, _network, _groups, _settings, _folders) for line in part() if not others.search(line)
    } | set(_processes(directory))


def settled(before: set[str], directory: Path, label: str) -> dict[str, list[str]]:
    """What is there more and less than before, once nothing changes any more: the kernel takes a network namespace down a little later."""
    due = time.monotonic() + _SETTLED_WITHIN
    while (now := footprint(directory, label)) != before and time.monotonic() < due:
        time.sleep(0.2)
    return {"more": sorted(now - before), "less": sorted(before - now)}


def _mounts() -> list[str]:
    return [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines()]


def _network() -> Iterator[str]:
    links = json.loads(_ip("link"))
    foreign = {link["ifname"] for link in links if link["ifname"].startswith("veth") and "master" in link}
    for link in links:
        if link["ifname"] not in foreign:
            yield f"link {link['ifname']}"
    for device in json.loads(_ip("address")):
        if device.get("ifname") not in foreign:
            yield from (f"address {each['local']} {device['ifname']}" for each in device.get("addr_info", ()))
    for family in ("-4", "-6"):
        for route in json.loads(_ip(family, "route", "show", "table", "all")):
            if route.get("dev") not in foreign:
                yield f"route {route['dst']} {route.get('dev')} {route.get('table', 'main')}"


def _groups() -> Iterator[str]:
    for tree in Path("/sys/fs/cgroup").iterdir():
        if tree.is_dir():
            yield from (f"group {group}" for group in (tree, *tree.iterdir()) if group.is_dir())
    for file in Path("/sys/fs/cgroup").glob("*/cgroup.subtree_control"):
        yield f"{file} {file.read_text().strip()}"


def _settings() -> Iterator[str]:
    for pattern in _SETTINGS:
        for file in Path("/proc/sys").glob(pattern):
            if file.is_file() and not _VOLATILE.search(str(file)):
                try:
                    yield f"setting {file} {file.read_text().strip()}"
                except OSError:
                    continue


def _folders() -> Iterator[str]:
    for folder in map(Path, _FOLDERS):
        if folder.is_dir():
            yield from (f"file {entry}" for entry in folder.iterdir())


def _processes(directory: Path) -> Iterator[str]:
    """Processes whose namespace has mounts of the testbed's nodes, whatever group they are in and whatever they are called."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{directory}/nodes/" in (process / "mountinfo").read_text():
                yield f"process {process.name} {(process / 'comm').read_text().strip()}"
        except OSError:
            continue


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", "-json", *arguments], capture_output=True, text=True, check=True).stdout or "[]"  # noqa: S603, S607 - iproute2, wherever it is
