r"""What latency a service shall have, and where it says which it has: the annotation `neaptide.io/slo` of its pods.

    {"latency": "20ms", "quantile": 0.99, "port": 9090, "path": "/metrics", "metric": "http_request_duration_seconds"}
    {"latency": "20ms", "query": "histogram_quantile(0.99, sum by (le) (rate(http_seconds_bucket{pod=\"$pod\"}[1m])))"}

The first is read from the pod itself, the second from the Prometheus that the agent was given; $pod and $namespace are the pod's.
"""

import re
from typing import NamedTuple

import msgspec
from msgspec import Struct

from neaptide.agent.pods import Pod
from neaptide.model.times import go_duration

ANNOTATION = "neaptide.io/slo"
_METRIC = re.compile(r"[A-Za-z_:][\w:]*")
_FORMS = "an objective has port and metric, or query"


class ObjectiveError(ValueError):
    """An annotation that says nothing usable: what stands there and what is accepted."""


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    latency: str
    quantile: float = 0.99
    port: int = 0
    path: str = "/metrics"
    metric: str = ""
    query: str = ""


class Objective(NamedTuple):
    """Seconds that requests shall take at a quantile, and where to ask: a port, path and metric of the pod, or a query."""

    seconds: float
    quantile: float
    port: int
    path: str
    metric: str
    query: str


def objective_of(pod: Pod) -> Objective | None:
    """A pod's; None where it names none. Raises ObjectiveError."""
    text = pod.metadata.annotations.get(ANNOTATION)
    if text is None:
        return None
    try:
        written = msgspec.json.decode(text, type=_Written)
    except msgspec.MsgspecError as error:
        raise _refused(
            text, f"{error}; accepted: a JSON object with latency and, of its own choice, {_FORMS}"
        ) from error
    seconds = go_duration(written.latency)
    if seconds is None or seconds <= 0:
        raise _refused(text, f"latency {written.latency!r}; accepted: a duration above 0 such as 20ms")
    if not 0 < written.quantile < 1:
        raise _refused(text, f"quantile {written.quantile:g}; accepted: above 0 and below 1")
    if bool(written.query) == bool(written.metric):
        raise _refused(text, f"{'both' if written.query else 'neither'} metric and query; accepted: {_FORMS}")
    if written.metric:
        if not _METRIC.fullmatch(written.metric):
            raise _refused(text, f"metric {written.metric!r}; accepted: the name of a metric")
        if not 0 < written.port < 65536:
            raise _refused(text, f"port {written.port}; accepted: 1 to 65535")
        if not written.path.startswith("/"):
            raise _refused(text, f"path {written.path!r}; accepted: a path that begins with /")
    named = written.query.replace("$pod", pod.metadata.name).replace("$namespace", pod.metadata.namespace)
    return Objective(seconds, written.quantile, written.port, written.path, written.metric, named)


def _refused(text: str, why: str) -> ObjectiveError:
    return ObjectiveError(f"the annotation {ANNOTATION}: {text}: {why}")
