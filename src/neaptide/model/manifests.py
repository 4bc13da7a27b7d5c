"""Objects from text: a `kubectl get -o json` List, one of the API server's lists, or YAML manifests.

Well-formed lists are decoded straight into structs. An object that does not fit is looked at again alone: explicit nulls
are dropped and numbers that stand for quantities become text, as the API server accepts them; what still does not fit
is left out with a record of the field, and the others are used.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model import storage_objects as storage
from neaptide.model.any_object import AnyObject
from neaptide.model.collector import collector_paused
from neaptide.model.colocation_profile import ClusterColocationProfile
from neaptide.model.node_metric import NodeMetric
from neaptide.model.node_pools import NodePool
from neaptide.model.problems import LeftOut
from neaptide.model.scheduling_objects import ElasticQuota, PodGroup, Reservation
from neaptide.model.yaml_text import YamlError, documents

KINDS: dict[str, type[AnyObject]] = {
    "Pod": objects.Pod,
    "Node": objects.Node,
    **dict.fromkeys(
        (
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
            "DaemonSet",
            "Job",
            "CronJob",
            "ReplicationController",
            "CloneSet",
        ),
        objects.Workload,
    ),
    "Namespace": objects.Namespace,
    "PodDisruptionBudget": objects.PodDisruptionBudget,
    "HorizontalPodAutoscaler": objects.HorizontalPodAutoscaler,
    "PriorityClass": objects.PriorityClass,
    "PersistentVolumeClaim": storage.PersistentVolumeClaim,
    "PersistentVolume": storage.PersistentVolume,
    "StorageClass": storage.StorageClass,
    "CSINode": storage.CSINode,
    "Service": objects.Service,
    "NodePool": NodePool,
    "PodMetrics": objects.PodMetrics,
    "NodeMetrics": objects.NodeMetrics,
    "NodeMetric": NodeMetric,
    "ClusterColocationProfile": ClusterColocationProfile,
    "PodGroup": PodGroup,
    "ElasticQuota": ElasticQuota,
    "Reservation": Reservation,
}
"""The kinds that are read; objects of other kinds are skipped, for a dump may hold anything."""

_QUANTITIES = {"requests", "limits", "allocatable", "capacity", "overhead", "allocatedResources"}
_PROBLEM = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


class Found(NamedTuple):
    """An object and the file it stood in."""

    file: str
    item: AnyObject


class _Kind(msgspec.Struct, gc=False):
    kind: str = ""


class _List(msgspec.Struct, gc=False):
    kind: str = ""
    items: list[msgspec.Raw] | None = None


def from_json(data: bytes, file: str) -> tuple[list[Found], list[LeftOut]]:
    """The objects of a JSON document: one object, a `List`, or a `PodList`, `NodeList` and so on."""
    kind = _kind_of_list(data)
    if kind is not None:
        try:
            with collector_paused():
                return [Found(file, item) for some in _some_at_a_time(data, kind) for item in some], []
        except msgspec.MsgspecError:
            pass  # some item does not fit: look at each alone
    try:
        document = msgspec.json.decode(data, type=_List)
    except msgspec.MsgspecError as error:
        return [], [LeftOut(file, "", "", _excerpt(data), f"a JSON object or list of objects ({error})")]
    raws = [msgspec.Raw(data)] if document.items is None else document.items
    kind = "" if document.items is None else document.kind.removesuffix("List")
    found: list[Found] = []
    left_out: list[LeftOut] = []
    for position, raw in enumerate(raws):
        try:
            item = _fitting(raw, msgspec.json.decode(raw, type=_Kind).kind or kind)
        except msgspec.MsgspecError:
            item = _patiently(msgspec.json.decode(raw), kind, file, position, left_out)
        if item is not None:
            found.append(Found(file, item))
    return found, left_out


def pods_of_list(data: bytes) -> Iterator[list[objects.Pod]]:
    """The pods of a PodList, some at a time, so that only those are in memory as objects.

    Raises:
        MsgspecError: some pod does not fit; `from_json` says which, and gives the others.
    """
    return _some_at_a_time(data, "PodList")


def from_yaml(text: str, file: str) -> tuple[list[Found], list[LeftOut]]:
    """The objects of a stream of YAML documents."""
    found: list[Found] = []
    left_out: list[LeftOut] = []
    try:
        parsed = documents(text)
    except YamlError as error:
        return [], [LeftOut(file, "", "", str(error), "YAML documents")]
    for document in parsed:
        kind = str(document.get("kind", "")) if isinstance(document, dict) else ""
        listed = isinstance(document, dict) and isinstance(document.get("items"), list)
        for position, raw in enumerate(document["items"] if listed else [document]):
            if raw is None:
                continue
            item = _patiently(raw, kind.removesuffix("List") if listed else "", file, position, left_out)
            if item is not None:
                found.append(Found(file, item))
    return found, left_out


def describe(item: AnyObject) -> str:
    """`Pod default/web-0`: how an object is named in messages."""
    kind = item.kind if isinstance(item, objects.Workload) else type(item).__name__
    meta = item.metadata
    return f"{kind} {meta.namespace}/{meta.name}" if meta.namespace else f"{kind} {meta.name}"


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "PodList": msgspec.json.Decoder(objects.Pod),
    "NodeList": msgspec.json.Decoder(objects.Node),
}
_NAMELESS = "Expected `str` of at least one character - at `$.metadata.name`"
_KIND = re.compile(rb'"kind"\s*:\s*"(PodList|NodeList)"')


def _kind_of_list(data: bytes) -> str | None:
    """PodList or NodeList where a document says so near its beginning, as the API server's lists do."""
    match = _KIND.search(data[:200])
    return match[1].decode() if match else None


def _some_at_a_time(data: bytes, kind: str, *, at_once: int = 500) -> Iterator[list[Any]]:
    """The items of an API server's list, a page at a time. Raises MsgspecError at the first that does not fit."""
    raws = msgspec.json.decode(data, type=_List).items or []
    decode = _DECODERS[kind].decode
    for start in range(0, len(raws), at_once):
        items = [decode(raw) for raw in raws[start : start + at_once]]
        if not all(item.metadata.name for item in items):
            raise msgspec.ValidationError(_NAMELESS)
        yield items


def _fitting(raw: msgspec.Raw, kind: str) -> AnyObject | None:
    known = KINDS.get(kind)
    if known is None:
        return None
    item = msgspec.json.decode(raw, type=known)
    if not item.metadata.name:
        raise msgspec.ValidationError(_NAMELESS)
    if isinstance(item, objects.Workload) and not item.kind:  # the items of a list do not carry it
        return replace(item, kind=kind)
    return item


def _patiently(raw: Any, kind: str, file: str, position: int, left_out: list[LeftOut]) -> AnyObject | None:  # noqa: ANN401 - whatever stood in the file
    """An object by way of plain values, or a record of why not."""
    if not isinstance(raw, dict):
        left_out.append(
            LeftOut(file, f"item {position}", "", str(raw)[:80], "an object with a kind and a metadata.name")
        )
        return None
    kind = str(raw.get("kind") or kind)
    known = KINDS.get(kind)
    if known is None:
        return None
    tidy = _tidy(raw | {"kind": kind})
    meta = tidy.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    label = (
        f"{kind} {meta.get('namespace', '')}/{name}".replace(" /", " ")
        if isinstance(meta, dict)
        else f"item {position}"
    )
    if not isinstance(name, str) or not name:
        left_out.append(
            LeftOut(file, f"{kind} (item {position})", "metadata.name", str(name or ""), "the object's name")
        )
        return None
    try:
        return msgspec.convert(tidy, known)
    except msgspec.ValidationError as error:
        match = _PROBLEM.match(str(error))
        path, what = (match["path"] or "", match["what"]) if match else ("", str(error))
        left_out.append(LeftOut(file, label, path, _at(tidy, path), what[0].lower() + what[1:]))
        return None


def _tidy(value: Any, key: str = "") -> Any:  # noqa: ANN401 - plain JSON and YAML values
    """Without explicit nulls, with numbers among quantities as text and YAML's dates as timestamps."""
    if isinstance(value, dict):
        inner = key in _QUANTITIES
        kept = ((str(name), each) for name, each in value.items() if each is not None)
        return {name: _amount(each) if inner else _tidy(each, name) for name, each in kept}
    if isinstance(value, list):
        return [_tidy(each) for each in value if each is not None]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _amount(value: Any) -> Any:  # noqa: ANN401 - a quantity is text or a number
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if number else value


def _at(value: Any, path: str) -> str:  # noqa: ANN401 - plain values
    """The text at a path such as `spec.containers[0].name`."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return ""
    return str(value)[:80]


def _excerpt(data: bytes) -> str:
    return data[:40].decode(errors="replace")
