"""What a node keeps from pods by its annotation `node.koordinator.sh/reservation`, in Koordinator's form."""

from typing import Any, NamedTuple

import msgspec

from neaptide.model.cpusets import parse_cpus
from neaptide.model.problems import FieldError
from neaptide.model.quantity import ACCEPTED, for_resource

ANNOTATION = "node.koordinator.sh/reservation"
_WHERE = f"metadata.annotations[{ANNOTATION}]"
_FORM = 'JSON such as {"resources": {"cpu": "2", "memory": "4Gi"}} or {"reservedCPUs": "0-3"}'
_LONGEST = 4096


class NodeReservation(NamedTuple):
    """Milli-cores, bytes, and the CPUs that are kept where they are named."""

    cpu: int = 0
    memory: int = 0
    cpus: frozenset[int] = frozenset()


def node_reservation(text: str) -> NodeReservation:
    """What an annotation says: `{"resources": {"cpu": "2"}}`, or `{"reservedCPUs": "0-3"}`, which prevails.

    Raises:
        FieldError: it cannot be read.
    """
    try:
        value = msgspec.json.decode(text, type=dict[str, Any])
        resources = msgspec.convert(value.get("resources") or {}, dict[str, str])
        listed = msgspec.convert(value.get("reservedCPUs") or "", str)
    except msgspec.MsgspecError as error:
        raise FieldError(_WHERE, text, _FORM) from error
    try:
        cpu, memory = (for_resource(name, resources.get(name, "0")) for name in ("cpu", "memory"))
    except ValueError as error:
        raise FieldError(f"{_WHERE}.resources", text, ACCEPTED) from error
    cpus = _cpus(listed)
    return NodeReservation(max(len(cpus) * 1000 if cpus else cpu, 0), max(memory, 0), cpus)


def _cpus(listed: str) -> frozenset[int]:
    accepted = "a list of CPUs such as 0-3,8"
    if len(listed) > _LONGEST or any(len(each) > len("65535") for each in listed.replace("-", ",").split(",")):
        raise FieldError(f"{_WHERE}.reservedCPUs", listed, accepted)
    try:
        return parse_cpus(listed)
    except ValueError as error:
        raise FieldError(f"{_WHERE}.reservedCPUs", listed, accepted) from error
