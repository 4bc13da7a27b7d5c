"""A real cluster saved, planned from the file, shared without its names, and looked at with few rights."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from neaptide.cli.app import run
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS, SERVICE_ACCOUNTS, Resource

Captured = pytest.CaptureFixture[str]
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role", namespaced=True)
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True)


@pytest.fixture
def with_pod(kubeconfig: Path, namespace: str) -> str:
    """A namespace with a pod."""
    body = {
        "metadata": {"name": "secretpod", "labels": {"app": "secretapp"}},
        "spec": {
            "containers": [{"name": "main", "image": "local.test/secretimage:1", "env": [{"name": "K", "value": "v"}]}]
        },
    }

    async def create() -> None:
        async with Client(load(kubeconfig)) as client:
            await client.create(PODS, body, namespace)

    asyncio.run(create())
    return namespace


def test_a_saved_cluster_is_what_kubectl_would_have_written(
    kubeconfig: Path, with_pod: str, tmp_path: Path, capsys: Captured
) -> None:
    saved = tmp_path / "cluster.json"
    assert run(["snapshot", "save", str(saved), "--kubeconfig", str(kubeconfig)]) == 0
    assert saved.stat().st_mode & 0o777 == 0o600
    items = json.loads(saved.read_bytes())["items"]
    assert f"{len(items)} objects" in capsys.readouterr().err
    found = [(each["apiVersion"], each["kind"]) for each in items if each["metadata"].get("namespace") == with_pod]
    assert found == [("v1", "Pod")]
    assert ("v1", "Namespace", with_pod) in {
        (each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in items
    }


def test_what_is_shared_of_it_names_nothing_and_plans_the_same(
    kubeconfig: Path, with_pod: str, tmp_path: Path, capsys: Captured
) -> None:
    del with_pod
    saved, shared = str(tmp_path / "cluster.json"), str(tmp_path / "shared.json")
    assert run(["snapshot", "save", saved, "--kubeconfig", str(kubeconfig)]) == 0
    assert run(["snapshot", "anonymise", saved, shared]) == 0
    assert "secret" not in Path(shared).read_text()
    capsys.readouterr()
    plans = []
    for file in (saved, shared):
        run(["plan", file, "--output", "json"])
        plans.append(json.loads(capsys.readouterr().out))
    assert plans[0] == plans[1]


def test_a_plan_with_few_rights_says_what_it_could_not_see(
    kubeconfig: Path, with_pod: str, tmp_path: Path, capsys: Captured
) -> None:
    restricted = tmp_path / "restricted.yaml"
    restricted.write_text(_restricted(kubeconfig, with_pod))
    saved = tmp_path / "seen.json"
    assert run(["snapshot", "save", str(saved), "--kubeconfig", str(restricted)]) == 0
    said = capsys.readouterr().err
    assert "could not see nodes: list and watch are not allowed" in said
    assert f"could not see pods outside of the namespace {with_pod}" in said
    assert {each["kind"] for each in json.loads(saved.read_bytes())["items"]} == {"Pod"}


def _restricted(kubeconfig: Path, namespace: str) -> str:
    """A kubeconfig for an account that may look at the pods of one namespace."""
    role = {
        "metadata": {"name": "looking"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}],
    }
    binding = {
        "metadata": {"name": "looking"},
        "roleRef": {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": "looking"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }

    async def make() -> bytes:
        async with Client(load(kubeconfig)) as client:
            await client.create(ROLES, role, namespace)
            await client.create(ROLE_BINDINGS, binding, namespace)
            return await client.create(SERVICE_ACCOUNTS, {}, namespace, name="default", subresource="token")

    known = yaml.safe_load(kubeconfig.read_text())
    known["users"] = [{"name": "restricted", "user": {"token": json.loads(asyncio.run(make()))["status"]["token"]}}]
    known["contexts"][0]["context"] |= {"user": "restricted", "namespace": namespace}
    known["current-context"] = known["contexts"][0]["name"]
    return yaml.safe_dump(known)


def test_a_cluster_that_does_not_answer_is_named_with_the_reason(tmp_path: Path, capsys: Captured) -> None:
    missing = tmp_path / "none.yaml"
    assert run(["plan", "--kubeconfig", str(missing)]) == 2
    assert str(missing) in capsys.readouterr().err
