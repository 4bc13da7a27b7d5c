"""What an account may do by the chart, and what it did by the audit log of the API server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.charts.helm import Objects
from tests.testbed.asking import done

from neaptide.testbed.cluster import Testbed

RELEASED = "tide"
"""The namespace that the tests install the chart into."""


class Right(NamedTuple):
    """One verb on one resource (`nodes/status`)."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"


def user_of(account: str) -> str:
    """The user that an account of the chart is."""
    return f"system:serviceaccount:{RELEASED}:{account}"


def kubeconfig_of(testbed: Testbed, directory: Path, account: str) -> Path:
    """A kubeconfig as an account of the chart, in the chart's namespace."""
    config = json.loads(testbed.kubeconfig.read_text(encoding="utf-8"))
    token = done(testbed, "create", "token", account, f"--namespace={RELEASED}").strip()
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["context"]["namespace"] = RELEASED
    path = directory / "account.kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    path.chmod(0o600)
    return path


def assert_exact(testbed: Testbed, account: str, may: set[Right], *, besides: frozenset[Right] = frozenset()) -> None:
    """An account was refused nothing, did nothing that the chart does not give it, and did all that it gives.

    `besides` are rights that it has from elsewhere, as by a binding to a role of Kubernetes' own.
    """
    log, user = testbed.log("audit"), user_of(account)
    did, no = used(log, user), refused(log, user)
    beyond, idle = sorted(map(str, did - may - besides)), sorted(map(str, may - did))
    assert not no, f"refused: {no}"
    assert not beyond, f"not given by the chart: {beyond}"
    assert not idle, f"given, and never used: {idle}"


def granted(objects: Objects) -> set[Right]:
    """What the roles among objects give."""
    return {
        Right(group, resource, verb)
        for (kind, _), each in objects.items()
        if kind in ("Role", "ClusterRole")
        for rule in each["rules"]
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


def used(log: Path, user: str) -> set[Right]:
    """What a user asked for, without what every user may ask. Who may watch has to be able to list: a watch begins with a list
    where the server does not send one, and again when it has missed something. A web socket to a pod is a get in the log, and wants the
    right to create besides, of which the log says nothing."""
    asked = {_right(each) for each in _requests(log, user)}
    sockets = {right for right in asked if right.resource == "pods/exec"}
    lists = {right._replace(verb="list") for right in asked if right.verb == "watch"}
    return asked | lists | {right._replace(verb="create") for right in sockets}


def refused(log: Path, user: str) -> set[str]:
    """What a user asked for and may not, as the API server says it."""
    return {
        f"{_right(each)}: {each.get('responseStatus', {}).get('message', '')}"
        for each in _requests(log, user)
        if each.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
    }


def _requests(log: Path, user: str) -> Iterator[dict[str, Any]]:
    for line in log.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        about = each.get("objectRef", {})
        if (
            each["user"]["username"] == user
            and about.get("resource")
            and not about["resource"].startswith("selfsubject")
        ):
            yield each


def _right(request: dict[str, Any]) -> Right:
    about = request["objectRef"]
    resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
    return Right(about.get("apiGroup", ""), resource, request["verb"])
