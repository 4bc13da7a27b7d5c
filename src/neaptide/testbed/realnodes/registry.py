"""A registry of images that are made on the spot, on the loopback address: what a pull needs of the OCI distribution API, and no more."""

import json
import tarfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from neaptide.testbed.realnodes.images import Image, write

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_BLOB = "application/octet-stream"


class Registry:
    """Serves images between `with` and its end. An image's name is its repository and tag, as `library/perl:latest`."""

    def __init__(self, *images: Image) -> None:
        blobs: dict[str, bytes] = {}
        tags: dict[tuple[str, str], str] = {}
        for image in images:
            repository, _, tag = image.name.rpartition(":")
            tags[repository, tag] = _read(image, blobs)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(blobs, tags))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(image: Image, blobs: dict[str, bytes]) -> str:
    """Add an image's blobs by their digests; the digest of its manifest."""
    with TemporaryDirectory() as folder, tarfile.open(write(image, Path(folder) / "image.tar")) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content is None:
                continue
            if member.name == "index.json":
                manifest = str(json.load(content)["manifests"][0]["digest"])
            elif member.name.startswith("blobs/sha256/"):
                blobs[f"sha256:{Path(member.name).name}"] = content.read()
    return manifest


def _handler(blobs: dict[str, bytes], tags: dict[tuple[str, str], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing is printed."""

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0].removeprefix("/v2/")
            repository, _, reference = path.replace("/blobs/", "/manifests/").rpartition("/manifests/")
            digest = tags.get((repository, reference), reference)
            content = b"{}" if path in ("", "/v2") else blobs.get(digest)
            self.send_response(HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK)
            if content is not None and path:
                self.send_header("Docker-Content-Digest", digest)
            self.send_header("Content-Type", _MANIFEST if "/manifests/" in path else _BLOB)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if with_body and content:
                self.wfile.write(content)

    return Handler
