"""Rules without a server: what CEL can say, as MutatingAdmissionPolicy objects (`admissionregistration.k8s.io/v1`).

A mutation is a CEL expression that gives a list of `JSONPatch` operations for `object`. It adds only what is not there, so a pod
that passes both this and the webhook gets the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from neaptide.admission.pipeline import RuleSetting
from neaptide.model.objects import MIRROR
from neaptide.model.scope import Scope

API_VERSION = "admissionregistration.k8s.io/v1"
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label by which every namespace can be selected by its name."""
_NONE = "[]"


def objects_of(settings: Sequence[RuleSetting]) -> list[dict[str, Any]]:
    """A MutatingAdmissionPolicy and its binding for every setting whose rule can be said in CEL."""
    objects: list[dict[str, Any]] = []
    for setting in settings:
        mutations = setting.rule.mutations(setting.spec)
        if mutations:
            name = f"neaptide-{setting.policy}"
            objects += [_policy(name, setting.scope, mutations), _binding(name)]
    return objects


def adding_to_map(field: str, entries: Mapping[str, str]) -> str:
    """A CEL expression that adds to a map of `metadata` (labels, annotations) the entries that it lacks."""
    place = f"object.metadata.{field}"
    path = f"/metadata/{field}"
    whole = "{" + ", ".join(f"{text(key)}: {text(value)}" for key, value in entries.items()) + "}"
    each = [
        f"({text(key)} in {place} ? {_NONE} : "
        f"[JSONPatch{{op: 'add', path: {text(path + '/')} + jsonpatch.escapeKey({text(key)}), value: {text(value)}}}])"
        for key, value in entries.items()
    ]
    return f"has({place}) ? {' + '.join(each)} : [JSONPatch{{op: 'add', path: {text(path)}, value: {whole}}}]"


def giving_priority_class(name: str) -> str:
    """A CEL expression that gives a pod without a priority class one; the API server then computes its priority again."""
    has_none = "(!has(object.spec.priorityClassName) || object.spec.priorityClassName == '')"
    removed = [
        f"(has(object.spec.{field}) ? [JSONPatch{{op: 'remove', path: '/spec/{field}'}}] : {_NONE})"
        for field in ("priority", "preemptionPolicy")
    ]
    added = f"[JSONPatch{{op: 'add', path: '/spec/priorityClassName', value: {text(name)}}}]"
    return f"{has_none} ? {' + '.join([added, *removed])} : {_NONE}"


def text(value: str) -> str:
    """A CEL string literal."""
    return msgspec.json.encode(value).decode()


def _policy(name: str, scope: Scope, mutations: Sequence[str]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {
                "namespaceSelector": _namespaces(scope),
                "objectSelector": msgspec.to_builtins(scope.pod_selector),
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                ],
            },
            "matchConditions": [
                {
                    "name": "not-a-mirror-pod",
                    "expression": f"!has(object.metadata.annotations) || !({text(MIRROR)} in object.metadata.annotations)",
                }
            ],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": each}} for each in mutations],
        },
    }


def _binding(name: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }


def _namespaces(scope: Scope) -> dict[str, Any]:
    """The namespace selector of a scope, its list of names among the expressions."""
    selector: dict[str, Any] = msgspec.to_builtins(scope.namespace_selector)
    if scope.namespaces:
        named = {"key": NAMESPACE_NAME, "operator": "In", "values": list(scope.namespaces)}
        selector["matchExpressions"] = [*selector.get("matchExpressions", []), named]
    return selector
