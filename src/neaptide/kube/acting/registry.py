"""Every kind of action, how it is carried out, and what an Event calls it."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from neaptide.kube.acting.carrying import Api
from neaptide.kube.acting.evict import evict
from neaptide.kube.acting.node_resources import set_node_resources
from neaptide.kube.acting.node_spec import annotate, cordon, taint, uncordon, untaint
from neaptide.kube.acting.nodes import create_node, delete_node
from neaptide.kube.acting.nominate import nominate
from neaptide.kube.acting.scale import scale
from neaptide.kube.acting.switch import resume, suspend
from neaptide.kube.acting.tolerate import tolerate
from neaptide.model.actions import (
    Action,
    Annotate,
    Cordon,
    CreateNode,
    DeleteNode,
    Evict,
    Nominate,
    Resume,
    Scale,
    SetNodeResources,
    Suspend,
    Taint,
    Tolerate,
    Uncordon,
    Untaint,
)


class Method(NamedTuple):
    """How a kind of action is carried out.

    Attributes:
        carry_out: does it once, or raises RefusedError, AlreadyError or ApiError.
        event: the reason of the Event on its target once it is done, empty where there would be one per node and cycle.
        gone_is_done: whether a target that is no longer there is what was wanted.
    """

    carry_out: Callable[[Any, Api], Awaitable[None]]
    event: str
    gone_is_done: bool = False


METHODS: dict[type[Action], Method] = {
    Evict: Method(evict, "Evicted", gone_is_done=True),
    Suspend: Method(suspend, "Suspended"),
    Resume: Method(resume, "Resumed"),
    Scale: Method(scale, "Scaled"),
    SetNodeResources: Method(set_node_resources, ""),
    Taint: Method(taint, "Tainted"),
    Untaint: Method(untaint, "Untainted"),
    Cordon: Method(cordon, "Cordoned"),
    Uncordon: Method(uncordon, "Uncordoned"),
    CreateNode: Method(create_node, "Bought"),
    Annotate: Method(annotate, "Announced"),
    Nominate: Method(nominate, ""),
    Tolerate: Method(tolerate, "Bursts"),
    DeleteNode: Method(delete_node, "GivenBack", gone_is_done=True),
}
