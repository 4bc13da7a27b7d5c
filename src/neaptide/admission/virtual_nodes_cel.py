"""The rule virtualNodes in CEL: one expression, because what it adds first would tell its later parts that all is done."""

from collections.abc import Mapping
from typing import Any

import msgspec

from neaptide.admission.cel import adding_to_map, text
from neaptide.admission.virtual_names import INJECTION, MODE, PREFERENCE, TAINT, TYPE, VIRTUAL

_NONE = "[]"
_OWN_MODES = ("prefer-real", "overflow", "virtual-only")


def injecting(
    mode: str, toleration: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> str:
    """A CEL expression: the operations that let a pod onto virtual nodes; none for pods that are not to go there."""
    wanted = _mode(mode)
    overflows = f"{wanted} == 'overflow'"
    marked = adding_to_map("annotations", {**annotations, MODE: "overflow"})
    annotated = adding_to_map("annotations", annotations) if annotations else _NONE
    parts = [
        *([adding_to_map("labels", labels)] if labels else []),
        f"{overflows} ? ({marked}) : ({annotated})",
        f"{overflows} ? {_NONE} : ({_appending('/spec/tolerations', 'object.spec.tolerations', toleration)})",
        f"{wanted} == 'prefer-real' ? ({_preferring()}) : {_NONE}",
        f"{wanted} == 'virtual-only' ? ({_requiring()}) : {_NONE}",
    ]
    return f"{_eligible()} ? {' + '.join(f'({part})' for part in parts)} : {_NONE}"


def _eligible() -> str:
    """Opted in, not done yet, and not in need of a machine."""
    flags = [f"(has(object.spec.{flag}) && object.spec.{flag})" for flag in ("hostNetwork", "hostPID", "hostIPC")]
    paths = "(has(object.spec.volumes) && object.spec.volumes.exists(v, has(v.hostPath)))"
    containers = [
        f"(has(object.spec.{field}) && object.spec.{field}.exists(c, (has(c.securityContext) && has(c.securityContext.privileged) "
        "&& c.securityContext.privileged) || (has(c.ports) && c.ports.exists(p, has(p.hostPort) && p.hostPort > 0))))"
        for field in ("containers", "initContainers")
    ]
    return " && ".join(
        (
            "namespaceObject.metadata.name != 'kube-system'",
            f"({_labelled('object')} ? {_label('object')} : ({_labelled('namespaceObject')} ? {_label('namespaceObject')} : '')) == 'enabled'",
            "!(has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o, o.kind == 'DaemonSet'))",
            f"!(has(object.spec.tolerations) && object.spec.tolerations.exists(t, has(t.key) && t.key == {text(TAINT)}))",
            *(f"!{obstacle}" for obstacle in (*flags, paths, *containers)),
        )
    )


def _labelled(of: str) -> str:
    return f"(has({of}.metadata.labels) && {text(INJECTION)} in {of}.metadata.labels)"


def _label(of: str) -> str:
    return f"{of}.metadata.labels[{text(INJECTION)}]"


def _mode(mode: str) -> str:
    """The mode that the pod's annotation names, else the Policy's."""
    found = f"object.metadata.annotations[{text(MODE)}]"
    modes = "[" + ", ".join(map(text, _OWN_MODES)) + "]"
    named = f"has(object.metadata.annotations) && {text(MODE)} in object.metadata.annotations && {found} in {modes}"
    return f"({named} ? {found} : {text(mode)})"


def _requiring() -> str:
    """A node selector says the same as an expression in every term of the affinity, for both must hold."""
    key = f"{text('/spec/nodeSelector/')} + jsonpatch.escapeKey({text(TYPE)})"
    return (
        f"has(object.spec.nodeSelector) ? ({text(TYPE)} in object.spec.nodeSelector ? {_NONE} : "
        f"[JSONPatch{{op: 'add', path: {key}, value: {text(VIRTUAL)}}}]) : "
        f"[JSONPatch{{op: 'add', path: '/spec/nodeSelector', value: {{{text(TYPE)}: {text(VIRTUAL)}}}}}]"
    )


def _preferring() -> str:
    """The preference is added to what there is of an affinity."""
    term = {
        "weight": PREFERENCE,
        "preference": {"matchExpressions": [{"key": TYPE, "operator": "NotIn", "values": [VIRTUAL]}]},
    }
    field = "preferredDuringSchedulingIgnoredDuringExecution"
    place, path = "object.spec.affinity.nodeAffinity", "/spec/affinity/nodeAffinity"
    return (
        f"!has(object.spec.affinity) ? {_adding('/spec/affinity', {'nodeAffinity': {field: [term]}})} : "
        f"!has({place}) ? {_adding(path, {field: [term]})} : {_appending(f'{path}/{field}', f'{place}.{field}', term)}"
    )


def _appending(path: str, place: str, item: Mapping[str, Any]) -> str:
    return f"has({place}) ? {_adding(f'{path}/-', item)} : {_adding(path, [item])}"


def _adding(path: str, value: Any) -> str:  # noqa: ANN401 - any value of JSON
    return f"[JSONPatch{{op: 'add', path: {text(path)}, value: {_literal(value)}}}]"


def _literal(value: Any) -> str:  # noqa: ANN401 - any value of JSON
    """Maps whose values are of several types are CEL's dyn."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text(key)}: dyn({_literal(each)})" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(each) for each in value) + "]"
    return msgspec.json.encode(value).decode()
