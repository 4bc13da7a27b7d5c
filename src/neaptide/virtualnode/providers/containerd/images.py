"""Images: when they are pulled, and with whose name."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

from neaptide.virtualnode.cri import api_pb2 as api
from neaptide.virtualnode.cri.client import Cri, CriError
from neaptide.virtualnode.provider import ProviderError

_PULL_SECONDS = 600.0
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


class ImageError(ProviderError):
    """An image that is not there; `reason` is a kubelet's word for why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def policy_of(container: Mapping[str, Any]) -> str:
    """Always, IfNotPresent or Never; by default Always for `latest`, as the API server sets it."""
    if container.get("imagePullPolicy"):
        return str(container["imagePullPolicy"])
    image = container.get("image") or ""
    name = image.rpartition("/")[2]
    return "Always" if "@" not in image and (":" not in name or name.endswith(":latest")) else "IfNotPresent"


async def ensure(cri: Cri, container: Mapping[str, Any], secrets: Iterable[Mapping[str, bytes]]) -> str:
    """See that a container's image is there, and return its ID at the runtime.

    Raises:
        ImageError: it is not, and why.
        CriError: the runtime does not answer.
    """
    image, policy = container.get("image") or "", policy_of(container)
    there = await _status(cri, image)
    if there and policy != "Always":
        return there
    if policy == "Never":
        raise ImageError("ErrImageNeverPull", f"Container image {image!r} is not present with pull policy of Never")
    problem = ""
    for auth in [*credentials(image, secrets), None]:
        try:
            spec = api.ImageSpec(image=image)
            pulled = await cri.call("PullImage", within=_PULL_SECONDS, image=spec, auth=auth)
        except CriError as error:
            if error.away:
                raise
            problem = str(error)
        else:
            return await _status(cri, image) or str(pulled.image_ref)
    raise ImageError("ErrImagePull", problem)


def credentials(image: str, secrets: Iterable[Mapping[str, bytes]]) -> list[Any]:
    """What pull secrets have for an image's registry, those of the longest path first."""
    registry, path = registry_of(image)
    found = []
    for secret in secrets:
        for key, auth in _entries(secret).items():
            host, _, prefix = key.removeprefix("https://").removeprefix("http://").partition("/")
            prefix = "" if prefix.strip("/") in ("v1", "v2") else prefix.strip("/")
            same = host == registry or (host in _HUB and registry in _HUB)
            if same and (not prefix or path == prefix or path.startswith(f"{prefix}/")):
                found.append((len(prefix), _auth(auth)))
    return [auth for _, auth in sorted(found, key=lambda each: -each[0])]


def registry_of(image: str) -> tuple[str, str]:
    """An image's registry and the path there: what has no registry is Docker Hub's."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return _HUB[0], image if slash else f"library/{image}"


async def _status(cri: Cri, image: str) -> str:
    answer = await cri.call("ImageStatus", image=api.ImageSpec(image=image))
    return str(answer.image.id)


def _entries(secret: Mapping[str, bytes]) -> dict[str, Any]:
    """The registries of a Secret of either type; a Secret that is none of them has none."""
    try:
        if ".dockerconfigjson" in secret:
            found = json.loads(secret[".dockerconfigjson"]).get("auths")
        else:
            found = json.loads(secret.get(".dockercfg", b"{}"))
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _auth(entry: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a message
    user, password = entry.get("username") or "", entry.get("password") or ""
    if not user and entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = ""
    return api.AuthConfig(username=user, password=password, identity_token=entry.get("identitytoken") or "")
