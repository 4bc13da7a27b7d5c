"""A strategic merge gives what kubectl gives for the same pod and patch, and doing it twice changes nothing more."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from neaptide.admission.strategic_merge import merged
from neaptide.testbed.build import ensure_built

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"app": "spark"}, "finalizers": ["a/b", "c/d"]},
    "spec": {
        "nodeSelector": {"disk": "ssd", "zone": "a"},
        "tolerations": [{"key": "old"}],
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "c"}}],
        "containers": [
            {
                "name": "main",
                "image": "spark:3",
                "command": ["run"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resources": {"requests": {"cpu": "1"}},
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            },
            {"name": "side", "image": "log:1"},
        ],
    },
}
PATCHES: dict[str, dict[str, Any]] = {
    "fields are set, added and taken away": {
        "metadata": {"labels": {"team": "data"}},
        "spec": {"nodeSelector": {"zone": None, "pool": "offline"}, "schedulerName": "neaptide"},
    },
    "an item is merged by its name, another one added": {
        "spec": {"containers": [{"name": "main", "image": "spark:4"}, {"name": "probe", "image": "probe:1"}]}
    },
    "environment by name, mounts by path": {
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
                    "volumeMounts": [
                        {"name": "conf", "mountPath": "/conf"},
                        {"mountPath": "/scratch", "readOnly": True},
                    ],
                }
            ]
        }
    },
    "a list of words is replaced": {"spec": {"containers": [{"name": "main", "command": ["go", "on"]}]}},
    "tolerations are replaced": {"spec": {"tolerations": [{"key": "new", "operator": "Exists"}]}},
    "finalizers are put together": {"metadata": {"finalizers": ["e/f"]}},
    "a finalizer is taken out": {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}},
    "an item is deleted": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}},
    "a list is replaced": {"spec": {"volumes": [{"$patch": "replace"}, {"name": "own", "emptyDir": {}}]}},
    "an object is replaced": {"spec": {"nodeSelector": {"$patch": "replace", "pool": "offline"}}},
    "an object is deleted": {"spec": {"nodeSelector": {"$patch": "delete"}}},
    "a volume becomes one of another kind": {
        "spec": {"volumes": [{"name": "scratch", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/fast"}}]}
    },
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_merging_twice_is_merging_once(patch: dict[str, Any]) -> None:
    before = json.dumps(POD)
    once = merged(POD, patch)
    assert merged(once, patch) == once != POD
    assert json.dumps(POD) == before


def test_the_result_is_that_of_kubectl(tmp_path: Path) -> None:
    kubectl = ensure_built(lambda _: None) / "kubectl"
    (tmp_path / "pod.json").write_text(json.dumps(POD))
    for name, patch in PATCHES.items():
        flags = ["--local", "--type=strategic", f"--filename={tmp_path / 'pod.json'}", f"--patch={json.dumps(patch)}"]
        command = [str(kubectl), "patch", *flags, "--output=json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the testbed's
        assert done.returncode == 0, done.stderr
        ours, theirs = (_ordered(each) for each in (merged(POD, patch), json.loads(done.stdout)))
        assert ours == theirs, name


def _ordered(value: Any) -> Any:
    """Without the order of items that have names, which kubectl may choose, and without what is empty."""
    if isinstance(value, dict):
        return {key: _ordered(each) for key, each in value.items() if each not in ({}, [])}
    if isinstance(value, list):
        items = [_ordered(each) for each in value]
        named = all(isinstance(each, dict) and ("name" in each or "mountPath" in each) for each in items)
        return sorted(items, key=lambda each: json.dumps(each, sort_keys=True)) if named else items
    return value
