"""A pod's folder on its host: what it was created with, facts that no runtime keeps, its volumes and its logs.

    PODS/UID/pod.json          the pod as it was last told
    PODS/UID/facts.json        when it was taken, and what was decided of it
    PODS/UID/volumes/NAME/     its volumes
    PODS/UID/messages/         termination messages, one file a container and attempt
    PODS/UID/logs/NAME/N.log   logs, written by the runtime

Files of Secrets, ConfigMaps and the downward API are written once, before the first container that mounts them; only tokens are renewed.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from neaptide.virtualnode.provider import VirtualPod
from neaptide.virtualnode.providers.containerd.environment import container_named, field_of, resource_of
from neaptide.virtualnode.providers.containerd.messages import Mounted
from neaptide.virtualnode.providers.containerd.objects import Fetched, MissingError, Objects, Token

_MODE = 0o644
_FOLDER_MODE = 0o755
_SHARED_MODE = 0o777
_MESSAGE_MODE = 0o666
_TOKEN_SECONDS = 3607
_LONGEST_MESSAGE = 4096


class PodFolder:
    """One pod's folder.

    Args:
        path: where this process finds it; on_host: where the host does.
    """

    def __init__(self, path: Path, on_host: PurePosixPath) -> None:
        self.path, self.on_host = path, on_host

    def save(self, name: str, content: object) -> None:
        """Write a file of JSON: whole or not at all, whatever dies when. The folder is made with the first."""
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        draft = self.path / f".{name}"
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(content))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / name)
        _sync(self.path)

    def read(self, name: str, kind: Any) -> Any:  # noqa: ANN401 - any struct
        """A file that was saved; None where it is not there or was not written by this program."""
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return None

    def remove(self) -> None:
        """Take all of it away: first what makes it a pod's, so that half a folder is nobody's."""
        (self.path / "pod.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def log(self, container: str, attempt: int) -> Path:
        return self.path / "logs" / container / f"{attempt}.log"

    def prepare(self, pod: VirtualPod) -> None:
        """Make the folders of logs, messages and volumes."""
        for each in [*(pod.spec.get("initContainers") or ()), *pod.spec["containers"]]:
            (self.path / "logs" / each["name"]).mkdir(parents=True, exist_ok=True)
        (self.path / "messages").mkdir(exist_ok=True)
        for volume in pod.spec.get("volumes") or ():
            folder = self._volume(volume["name"])
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(_SHARED_MODE if "emptyDir" in volume or len(volume) == 1 else _FOLDER_MODE)

    def fill(self, pod: VirtualPod, fetched: Fetched, ip: str, host_ip: str) -> None:
        """Write the files of its volumes, but for tokens. Raises MissingError."""
        for volume in pod.spec.get("volumes") or ():
            for source in _sources(volume):
                for name, (content, mode) in _files(pod, source, fetched, ip, host_ip).items():
                    self._write(volume["name"], name, content, mode)

    async def renew_tokens(self, pod: VirtualPod, objects: Objects) -> float | None:
        """Write new tokens of the pod's service account; when they are to be renewed (epoch seconds), None where it has none."""
        due: list[float] = []
        for volume in pod.spec.get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                wanted = source.get("serviceAccountToken")
                if wanted:
                    seconds = wanted.get("expirationSeconds") or _TOKEN_SECONDS
                    token: Token = await objects.token(pod, wanted.get("audience") or "", seconds)
                    self._write(volume["name"], wanted["path"], token.text.encode(), _MODE)
                    due.append(token.expires - 0.2 * seconds)
        return min(due, default=None)

    def mounts(self, spec: Mapping[str, Any], attempt: int) -> list[Mounted]:
        """What a container mounts: its volumes, and the file of its termination message, which is made empty."""
        found = [
            Mounted(each["mountPath"], str(self.on_host / "volumes" / each["name"]), bool(each.get("readOnly")))
            for each in spec.get("volumeMounts") or ()
        ]
        message = f"{spec['name']}-{attempt}"
        file = self.path / "messages" / message
        file.touch()
        file.chmod(_MESSAGE_MODE)
        where = spec.get("terminationMessagePath") or "/dev/termination-log"
        return [*found, Mounted(where, str(self.on_host / "messages" / message), read_only=False)]

    def message(self, container: str, attempt: int) -> str:
        """What a container left as its termination message."""
        try:
            with (self.path / "messages" / f"{container}-{attempt}").open("rb") as file:
                return file.read(_LONGEST_MESSAGE).decode(errors="replace")
        except OSError:
            return ""

    def _volume(self, name: str) -> Path:
        return self.path / "volumes" / name

    def _write(self, volume: str, name: str, content: bytes, mode: int) -> None:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise MissingError(f"volume {volume}: {name!r} is no path below it")
        target = self._volume(volume) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.new")
        draft.write_bytes(content)
        draft.chmod(mode)
        draft.replace(target)


def _sources(volume: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Each with one of secret, configMap and downwardAPI, and the mode of its files."""
    if "projected" in volume:
        mode = volume["projected"].get("defaultMode", _MODE)
        yield from ({"mode": mode, **source} for source in volume["projected"].get("sources") or ())
    else:
        content = volume.get("secret") or volume.get("configMap") or volume.get("downwardAPI") or {}
        yield {"mode": content.get("defaultMode", _MODE), **volume}


def _files(
    pod: VirtualPod, source: Mapping[str, Any], fetched: Fetched, ip: str, host_ip: str
) -> dict[str, tuple[bytes, int]]:
    mode = source["mode"]
    for field, kind in (("secret", "secret"), ("configMap", "configmap")):
        if field in source:
            return _of_object(source[field], kind, fetched, mode)
    items: Sequence[Mapping[str, Any]] = (source.get("downwardAPI") or {}).get("items") or ()
    found = {}
    for item in items:
        if "fieldRef" in item:
            text = field_of(pod, item["fieldRef"]["fieldPath"], ip, host_ip)
        else:
            reference = item["resourceFieldRef"]
            text = resource_of(container_named(pod, reference.get("containerName") or ""), reference)
        found[item["path"]] = (text.encode(), item.get("mode", mode))
    return found


def _of_object(reference: Mapping[str, Any], kind: str, fetched: Fetched, mode: int) -> dict[str, tuple[bytes, int]]:
    data = fetched.keys(kind, reference)
    items = reference.get("items")
    if not items:
        return {key: (content, mode) for key, content in data.items()}
    found = {}
    for item in items:
        if item["key"] in data:
            found[item["path"]] = (data[item["key"]], item.get("mode", mode))
        elif not reference.get("optional"):
            raise MissingError(
                f"references non-existent key {item['key']} of {kind} {reference.get('name') or reference.get('secretName')}"
            )
    return found


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
