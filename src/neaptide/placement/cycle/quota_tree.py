"""ElasticQuotas as a tree: who is whose parent, what each is limited to, and what is wrong with those that make no sense.

Labels and annotations are Koordinator's (prefix `quota.scheduling.koordinator.sh/`); scheduler-plugins' quotas have none and
are all roots.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from neaptide.model.problems import FieldError
from neaptide.model.requests import Amounts, amounts_in
from neaptide.model.scheduling_objects import ElasticQuota
from neaptide.placement.cycle.quota_runtime import Claimant, runtimes

PREFIX = "quota.scheduling.koordinator.sh/"
ROOT = "koordinator-root-quota"


class Quota(NamedTuple):
    """One quota, amounts in the snapshot's units; a resource that `maximum` lacks is unlimited."""

    key: str
    name: str
    parent: str
    minimum: Amounts
    maximum: Amounts
    weight: Amounts
    guarantee: Amounts
    total: Amounts
    """Of a root: what it has, where it says so (annotation total-resource); empty where it shares the cluster."""
    lends: bool

    def resources(self) -> set[str]:
        """The resources that it has a say about."""
        return {*self.minimum, *self.maximum}


class Tree(NamedTuple):
    """The quotas that make sense, by name, parents before children; and by name what is wrong with the others."""

    quotas: dict[str, Quota]
    problems: dict[str, str]

    def path(self, name: str) -> list[str]:
        """A quota and those above it."""
        found = []
        while name:
            found.append(name)
            name = self.quotas[name].parent
        return found

    def children(self, name: str) -> list[Quota]:
        """The quotas right below one; of an empty name the roots."""
        return [each for each in self.quotas.values() if each.parent == name]


def read_tree(objects: Mapping[str, ElasticQuota]) -> Tree:
    """The tree of all ElasticQuotas (by `namespace/name`)."""
    known: dict[str, Quota] = {}
    problems: dict[str, str] = {}
    for key, each in sorted(objects.items()):
        name = each.metadata.name
        try:
            quota = _quota(key, each)
        except (FieldError, msgspec.MsgspecError) as error:
            problems[name] = f"ElasticQuota {key}: {error}"
            continue
        if name in known:
            problems[name] = f"ElasticQuota {key}: {known[name].key} has the same name; accepted: a name of its own"
        known[name] = quota
    sound: dict[str, Quota] = {}
    for name in known:
        problem = problems.get(name) or _problem(name, known, problems)
        if problem:
            problems[name] = problem
    for name in sorted((each for each in known if each not in problems), key=lambda each: _depth(each, known)):
        if known[name].parent in problems:
            problems[name] = f"ElasticQuota {known[name].key}: its parent {known[name].parent} is refused"
        else:
            sound[name] = known[name]
    return Tree(sound, problems)


def runtime_of(tree: Tree, requests: Mapping[str, Amounts], cluster: Amounts) -> dict[str, Amounts]:
    """By quota and resource, what it may use now.

    Args:
        tree: the quotas.
        requests: by quota, what its own pods ask for, those on nodes and those that wait.
        cluster: what all nodes have.
    """
    wanted = _wanted(tree, requests)
    found: dict[str, Amounts] = {}

    def share(parent: str, total: Amounts, quotas: list[Quota]) -> None:
        resources = sorted({resource for each in quotas for resource in each.resources()})
        for each in quotas:
            found[each.name] = {}
        for resource in resources:
            limit = total.get(resource, 0) if parent == "" or resource in total else None
            sharing = [each for each in quotas if resource in each.resources()]
            amounts = (
                runtimes(limit, [_claimant(each, resource, wanted, limit) for each in sharing])
                if limit is not None
                else [each.maximum.get(resource, wanted[each.name].get(resource, 0)) for each in sharing]
            )
            for each, amount in zip(sharing, amounts, strict=True):
                found[each.name][resource] = amount
        for each in quotas:
            share(each.name, found[each.name], tree.children(each.name))

    roots = tree.children("")
    for root in roots:
        if root.total:
            found[root.name] = {resource: root.total.get(resource, 0) for resource in root.resources()}
            share(root.name, found[root.name], tree.children(root.name))
    share("", cluster, [each for each in roots if not each.total])
    return found


def _wanted(tree: Tree, requests: Mapping[str, Amounts]) -> dict[str, Amounts]:
    """By quota: what it and those below it ask for, each within its maximum, and at least what it does not lend."""
    found = {name: dict(requests.get(name, {})) for name in tree.quotas}
    for name in reversed(tree.quotas):
        quota, own = tree.quotas[name], found[name]
        for resource, limit in quota.maximum.items():
            own[resource] = min(own.get(resource, 0), limit)
        if quota.parent:
            above = found[quota.parent]
            for resource in {*own, *quota.minimum}:
                kept = 0 if quota.lends else quota.minimum.get(resource, 0)
                above[resource] = above.get(resource, 0) + max(own.get(resource, 0), kept)
    return found


def _claimant(quota: Quota, resource: str, wanted: Mapping[str, Amounts], total: int) -> Claimant:
    weight = quota.weight.get(resource, quota.maximum.get(resource, total))
    request = wanted[quota.name].get(resource, 0)
    minimum, guarantee = quota.minimum.get(resource, 0), quota.guarantee.get(resource, 0)
    return Claimant(quota.name, weight, request, minimum, guarantee, quota.lends)


def _quota(key: str, item: ElasticQuota) -> Quota:
    labels, annotations = item.metadata.labels, item.metadata.annotations
    parent = labels.get(PREFIX + "parent", "")
    return Quota(
        key=key,
        name=item.metadata.name,
        parent="" if parent == ROOT else parent,
        minimum=amounts_in("spec.min", item.spec.min),
        maximum=amounts_in("spec.max", item.spec.max),
        weight=_annotated(annotations, "shared-weight"),
        guarantee=_annotated(annotations, "guaranteed"),
        total=_annotated(annotations, "total-resource"),
        lends=labels.get(PREFIX + "allow-lent-resource") != "false",
    )


def _annotated(annotations: Mapping[str, str], name: str) -> Amounts:
    """Amounts that an annotation has as JSON."""
    text = annotations.get(PREFIX + name)
    if not text:
        return {}
    found = msgspec.json.decode(text, type=dict[str, str | int | float])
    return amounts_in(name, {resource: str(amount) for resource, amount in found.items()})


def _problem(name: str, known: Mapping[str, Quota], problems: Mapping[str, str]) -> str:
    """What is wrong with a quota; empty where nothing is."""
    quota = known[name]
    where = f"ElasticQuota {quota.key}"
    for resource, least in quota.minimum.items():
        if resource in quota.maximum and quota.maximum[resource] < least:
            return f"{where}: spec.max[{resource}] is below spec.min; accepted: at least as much"
    if quota.parent and quota.parent not in known and quota.parent not in problems:
        return f"{where}: its parent {quota.parent} is not there"
    if _depth(name, known) < 0:
        return f"{where}: its parents lead back to itself; accepted: a tree"
    children = [each for each in known.values() if each.parent == name]
    for resource in quota.minimum if children else ():
        if sum(each.minimum.get(resource, 0) for each in children) > quota.minimum[resource]:
            return f"{where}: the children's spec.min[{resource}] exceed its own in sum; accepted: at most as much"
    return ""


def _depth(name: str, known: Mapping[str, Quota]) -> int:
    """How many quotas are above one; negative where there is no end."""
    for depth in range(len(known) + 1):
        if name not in known or not known[name].parent:
            return depth
        name = known[name].parent
    return -1
