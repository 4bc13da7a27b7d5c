"""What runs in the pods: a service, a job that computes and a job that writes. Python of this machine, mounted into a container of busybox.

The service answers each request after a fixed amount of work (a hash over so many bytes). Jobs count what they have done in a file.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from neaptide.testbed.realnodes.pods import manifest

PORT = 8080
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_FOLDER, _OUT, _SPACE = "/programs", "/out", "/space"
_TRIES = 15

SERVICE = f"""
import hashlib, selectors, socket, sys
block = bytes(int(sys.argv[1]))
listening = socket.create_server(("0.0.0.0", {PORT}), backlog=128)
waiting = selectors.DefaultSelector()
waiting.register(listening, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        if key.fileobj is listening:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting.register(connection, selectors.EVENT_READ)
            continue
        received = key.fileobj.recv(65536)
        if not received:
            waiting.unregister(key.fileobj)
            key.fileobj.close()
        for _ in range(received.count(b"\\r\\n\\r\\n")):
            hashlib.sha256(block).digest()
            key.fileobj.sendall({REPLY!r})
"""
_COUNTED = """
import mmap, os, struct, sys
file = open(sys.argv[1], "w+b")
file.write(bytes(8))
file.flush()
count = mmap.mmap(file.fileno(), 8)
done = 0
"""
COMPUTES = (
    _COUNTED
    + """
import hashlib
block = bytes(1 << 16)
while True:
    hashlib.sha256(block).digest()
    done += 1
    count[:] = struct.pack("<q", done)
"""
)
WRITES = (
    _COUNTED
    + f"""
size = 1 << 18
block = mmap.mmap(-1, size)
disk = os.open("{_SPACE}/data", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
while True:
    os.pwrite(disk, block, done % 256 * size)
    done += 1
    count[:] = struct.pack("<q", done)
"""
)
WRITTEN = 1 << 18
"""Bytes of one step of the job that writes."""
PROGRAMS = {"service": SERVICE, "computes": COMPUTES, "writes": WRITES}


def pod(
    name: str,
    program: str,
    *arguments: str,
    directory: str,
    node: str,
    resources: Mapping[str, Mapping[str, str]],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """A pod that runs a program of these.

    Args:
        name: the pod's, and of the file in which a job counts.
        program: of PROGRAMS.
        arguments: of it; by default the file in which it counts.
        directory: of this machine, with a file for each program, and `out`.
        node: on which it runs.
        resources: its requests and limits.
        labels: more of them.
    """
    words = arguments or (f"{_OUT}/{name}",)
    command = [os.path.realpath(sys.executable), "-I", "-S", f"{_FOLDER}/{program}.py", *words]
    places = {**{path: path for path in _python()}, _FOLDER: directory, _OUT: f"{directory}/out"}
    mounts = [{"name": f"v{number}", "mountPath": at} for number, at in enumerate(places)]
    volumes = [{"name": f"v{number}", "hostPath": {"path": path}} for number, path in enumerate(places.values())]
    made = manifest(
        name, command, requests=resources.get("requests"), limits=resources.get("limits"), labels=labels, nodeName=node
    )
    made["spec"]["volumes"] = [*volumes, {"name": "space", "emptyDir": {}}]
    made["spec"]["containers"][0]["volumeMounts"] = [*mounts, {"name": "space", "mountPath": _SPACE}]
    return made


def work_of(seconds: float) -> int:
    """Over how many bytes the service hashes, so that a request takes about so many seconds of CPU here."""
    block = bytes(1 << 18)
    best = float("inf")
    for _ in range(_TRIES):
        began = time.thread_time()
        sha256(block).digest()
        best = min(best, time.thread_time() - began)
    return round(seconds / best * len(block))


def _python() -> Sequence[str]:
    """Folders of this machine with its interpreter and the libraries that it wants."""
    return [
        os.path.realpath(sys.base_prefix),
        *(path for path in ("/lib", "/lib64", "/usr/lib") if Path(path).is_dir()),
    ]
