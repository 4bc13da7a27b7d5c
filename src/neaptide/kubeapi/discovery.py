"""What a server serves, and what this client may do there."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct, field

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import ACCESS_REVIEWS, RULES_REVIEWS, Resource

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_ACCEPT = f"{_AGGREGATED},application/json"


class Rule(Struct, frozen=True, rename="camel"):
    """One thing that the client may do; `*` stands for all, and no names mean all."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class Rules(Struct, frozen=True, rename="camel"):
    """What the client may do in a namespace. `incomplete`: an authorizer cannot list its rules, so that more may be allowed."""

    resource_rules: tuple[Rule, ...] = ()
    incomplete: bool = False


async def served(client: Client) -> set[Resource]:
    """The resources that the server has, in each version. Groups whose own server is away are left out."""
    found: set[Resource] = set()
    for root in ("/api", "/apis"):
        answer = await client.raw("GET", root, accept=_ACCEPT)
        listed = msgspec.json.decode(answer, type=_Groups)
        if listed.kind == "APIGroupDiscoveryList":
            found.update(_aggregated(listed))
            continue
        for group, version in _versions(root, listed):
            found.update(await _of_version(client, root, group, version))
    return found


async def allowed(
    client: Client, verb: str, resource: Resource, namespace: str = "", subresource: str = "", *, name: str = ""
) -> bool:
    """Whether the server would let this client do it; an empty namespace means in all of them."""
    attributes = {
        "verb": verb,
        "group": resource.group,
        "version": resource.version,
        "resource": resource.plural,
        "subresource": subresource,
        "namespace": namespace,
        "name": name,
    }
    body = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "spec": {"resourceAttributes": attributes},
    }
    answer = await client.create(ACCESS_REVIEWS, body)
    return msgspec.json.decode(answer, type=_AccessReview).status.allowed


async def rules(client: Client, namespace: str) -> Rules:
    """What the server would let this client do in a namespace."""
    body = {"apiVersion": RULES_REVIEWS.api_version, "kind": RULES_REVIEWS.kind, "spec": {"namespace": namespace}}
    return msgspec.json.decode(await client.create(RULES_REVIEWS, body), type=_RulesReview).status


class _AccessStatus(Struct):
    allowed: bool


class _AccessReview(Struct):
    status: _AccessStatus


class _RulesReview(Struct):
    status: Rules


class _Kind(Struct):
    kind: str = ""


class _Served(Struct, rename="camel"):
    resource: str
    scope: str
    response_kind: _Kind | None = None


class _Version(Struct):
    version: str
    resources: list[_Served] | None = None


class _Meta(Struct):
    name: str = ""


class _Preferred(Struct, rename="camel"):
    group_version: str


class _Group(Struct):
    """A group of either form: aggregated ones have metadata and versions, others a name and where its versions are."""

    name: str = ""
    metadata: _Meta | None = None
    versions: msgspec.Raw = msgspec.Raw(b"[]")


class _Groups(Struct):
    kind: str
    items: list[_Group] = []
    groups: list[_Group] = []
    versions: list[str] = []


class _Listed(Struct):
    name: str
    kind: str
    namespaced: bool


class _ResourceList(Struct):
    resources: list[_Listed] = field(default_factory=list)


def _aggregated(listed: _Groups) -> Iterator[Resource]:
    for group in listed.items:
        name = group.metadata.name if group.metadata else ""
        for version in msgspec.json.decode(group.versions, type=list[_Version]):
            for each in version.resources or ():
                kind = each.response_kind.kind if each.response_kind else ""
                yield Resource(name, version.version, each.resource, kind, each.scope == "Namespaced")


def _versions(root: str, listed: _Groups) -> Iterator[tuple[str, str]]:
    if root == "/api":
        yield from (("", version) for version in listed.versions)
        return
    for group in listed.groups:
        for version in msgspec.json.decode(group.versions, type=list[_Preferred]):
            yield group.name, version.group_version.rpartition("/")[2]


async def _of_version(client: Client, root: str, group: str, version: str) -> list[Resource]:
    """As servers before 1.26 say it, one version at a time."""
    path = "/".join(part for part in (root, group, version) if part)
    try:
        answer = await client.raw("GET", path)
    except (errors.Unavailable, errors.NotFound):
        return []
    listed = msgspec.json.decode(answer, type=_ResourceList).resources
    return [Resource(group, version, each.name, each.kind, each.namespaced) for each in listed if "/" not in each.name]
