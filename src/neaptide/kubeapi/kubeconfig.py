"""The files of a kubeconfig, read and merged as kubectl does."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec
import yaml
from msgspec import Struct

from neaptide.kubeapi.errors import ConfigError
from neaptide.kubeapi.plugin import Interactive


class ClusterEntry(Struct, rename="kebab"):
    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[dict[str, Any]] | None = None


class Variable(Struct):
    name: str
    value: str


class Exec(Struct, rename="camel"):
    api_version: str
    command: str
    args: list[str] | None = None
    env: list[Variable] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: Interactive | None = None


class UserEntry(Struct, rename="kebab"):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    impersonate: str = msgspec.field(name="as", default="")
    impersonate_uid: str = msgspec.field(name="as-uid", default="")
    impersonate_groups: list[str] | None = msgspec.field(name="as-groups", default=None)
    impersonate_extra: dict[str, list[str]] | None = msgspec.field(name="as-user-extra", default=None)
    exec: Exec | None = None
    auth_provider: dict[str, Any] | None = None


class ContextEntry(Struct):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class Origin(NamedTuple):
    """Where an entry stands: `file: users[admin]`, and the folder that its paths are relative to."""

    where: str
    folder: Path


Entry = TypeVar("Entry", ClusterEntry, UserEntry, ContextEntry)
_Found = tuple[Origin, Any]


class Kubeconfig(NamedTuple):
    """All files together: the first that names an entry or the current context wins."""

    files: tuple[Path, ...]
    clusters: dict[str, _Found]
    users: dict[str, _Found]
    contexts: dict[str, _Found]
    current: str

    def entry(self, kind: type[Entry], section: str, name: str, wanted_by: str) -> tuple[Origin, Entry]:
        """An entry by its name. Raises ConfigError where there is none, or it is not as it should be."""
        entries: dict[str, _Found] = getattr(self, section)
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise ConfigError(f"{wanted_by}: {section} has no {name!r}; there are: {known}")
        origin, body = entries[name]
        try:
            return origin, msgspec.convert(body or {}, kind)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{origin.where}: {error}") from None

    @property
    def where(self) -> str:
        return ":".join(str(path) for path in self.files)


def paths(path: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """The files that are meant: the one given, those of $KUBECONFIG, or ~/.kube/config. Raises ConfigError where none is there."""
    if path is not None:
        named = [path]
    elif listed := [Path(each) for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]:
        named = listed
    else:
        named = [Path(environment.get("HOME", "~")).expanduser() / ".kube" / "config"]
    found = [each for each in dict.fromkeys(named) if each.exists()]
    if not found:
        raise ConfigError(f"no kubeconfig: {', '.join(map(str, named))} is not there; give a path or set KUBECONFIG")
    return found


def merged(files: list[Path]) -> Kubeconfig:
    """Read the files. Raises ConfigError."""
    whole = Kubeconfig(tuple(files), {}, {}, {}, "")
    for file in files:
        content = _content(file)
        for section in ("clusters", "users", "contexts"):
            entries: dict[str, _Found] = getattr(whole, section)
            for name, body in _named(file, section, content.get(section)):
                entries.setdefault(name, (Origin(f"{file}: {section}[{name}]", file.absolute().parent), body))
        whole = whole._replace(current=whole.current or str(content.get("current-context") or ""))
    return whole


def _content(file: Path) -> dict[str, Any]:
    try:
        found = yaml.load(file.read_text(), Loader=_Loader)  # noqa: S506 - a safe loader, below
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found or {}, dict):
        raise ConfigError(f"{file}: a kubeconfig is a mapping, not {type(found).__name__}")
    return found or {}


def _named(file: Path, section: str, entries: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - what YAML held
    """Name and body of each entry: `contexts` holds them under `context`, and so on."""
    if not isinstance(entries or [], list):
        raise ConfigError(f"{file}: {section}: a list is accepted, not {type(entries).__name__}")
    named = []
    for number, each in enumerate(entries or []):
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise ConfigError(f"{file}: {section}[{number}]: an entry with a name is accepted, not {each!r:.60}")
        named.append((each["name"], each.get(section.removesuffix("s"))))
    return named


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # chosen when imported
    """Safe YAML in which what looks like a date stays text, as in JSON."""

    yaml_implicit_resolvers: ClassVar = {
        letter: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
