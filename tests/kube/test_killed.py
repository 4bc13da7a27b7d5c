"""A controller that is killed (SIGKILL) at each step of each kind of action, and started again: everything is done, once, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.kube import lives
from tests.kube.live import budget, eventually, found, job, make, pod
from tests.testbed.asking import deployment, done, items

from neaptide.model.actions import (
    AnyAction,
    Cordon,
    Evict,
    Reason,
    Ref,
    Resume,
    SetNodeResources,
    Suspend,
    Taint,
    Uncordon,
    Untaint,
)
from neaptide.model.workloads import SUSPENDED_REPLICAS
from neaptide.policies.protection import DO_NOT_DISRUPT, SAFE_TO_EVICT
from neaptide.records.reading import read
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.faults import Fault
from neaptide.testbed.proxy import Proxy

WHY = Reason("Test", "a test wants it")
KEY, AMOUNT = "neaptide.io/test", "example.com/test"
LONG_AGO = "2026-01-01T00:00:00Z"
APPS = ("Deployment", "StatefulSet")

Object = dict[str, Any]


class Kind(NamedTuple):
    """A kind of action.

    Attributes:
        make: makes its target, in a namespace, as it is before.
        action: the action itself, by the target as it is.
        path: of its write, as a regular expression.
        is_done: whether the target, {} where it is gone, is exactly as it must be.
        gone: whether the target is gone then.
    """

    make: Callable[[Testbed, str, str], Object]
    action: Callable[[Object, Ref], AnyAction]
    path: str
    is_done: Callable[[Object], bool]
    gone: bool = False


def workload(kind: str, *, suspended: bool) -> Callable[[Testbed, str, str], Object]:
    def made(testbed: Testbed, namespace: str, name: str) -> Object:
        if kind == "Job":
            make(testbed, job(name, suspend=suspended), namespace=namespace)
        else:
            manifest = json.loads(deployment(name, 0 if suspended else 3)) | {"kind": kind}
            if suspended:
                manifest["metadata"]["annotations"] = {SUSPENDED_REPLICAS: "3"}
            make(testbed, manifest, namespace=namespace)
        return found(testbed, kind, name, namespace)

    return made


def a_node(**spec: Any) -> Callable[[Testbed, str, str], Object]:
    def made(testbed: Testbed, namespace: str, name: str) -> Object:
        meta = {"name": f"{namespace}-{name}"}
        make(testbed, {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec})
        status = {"status": {key: {"cpu": "8", "memory": "32Gi", "pods": "110"} for key in ("capacity", "allocatable")}}
        patch = ("--subresource=status", "--type=merge", "--patch", json.dumps(status))
        done(testbed, "patch", "node", meta["name"], *patch)
        return found(testbed, "node", meta["name"])

    return made


def guarded_pods(testbed: Testbed, namespace: str, name: str) -> Object:
    """Three pods of which a budget lets one go, and one more that is protected."""
    node = a_node()(testbed, namespace, f"node-of-{name}")["metadata"]["name"]
    labels, bare = {"app": name}, {SAFE_TO_EVICT: "true"}
    names = [name, f"{name}-second", f"{name}-third"]
    make(
        testbed,
        budget(name, labels, minimum=2),
        *(pod(each, node=node, labels=labels, annotations=bare) for each in names),
        pod(f"{name}-protected", node=node, annotations=bare | {DO_NOT_DISRUPT: "true"}),
        namespace=namespace,
    )
    ready = {"phase": "Running", "startTime": LONG_AGO, "conditions": [{"type": "Ready", "status": "True"}]}
    for each in (*names, f"{name}-protected"):
        patch = ("--subresource=status", "--type=merge", "--patch", json.dumps({"status": ready}))
        done(testbed, "patch", "pod", each, "-n", namespace, *patch)
    eventually(lambda: found(testbed, "pdb", name, namespace).get("status", {}).get("disruptionsAllowed") == 1)
    return found(testbed, "pod", name, namespace)


def is_suspended(item: Object) -> bool:
    return (
        bool(item["spec"]["replicas"] == 0) and item["metadata"].get("annotations", {}).get(SUSPENDED_REPLICAS) == "3"
    )


def is_resumed(item: Object) -> bool:
    return item["spec"]["replicas"] == 3 and SUSPENDED_REPLICAS not in item["metadata"].get("annotations", {})


def taints(item: Object) -> list[str]:
    return [each["key"] for each in item["spec"].get("taints", []) if each["key"] == KEY]


def on_node(action: type[Any], **more: Any) -> Callable[[Object, Ref], AnyAction]:
    def made(_: Object, target: Ref) -> AnyAction:
        return action(policy=lives.NAME, target=target, reason=WHY, **more)  # type: ignore[no-any-return]

    return made


def switched(action: type[Suspend | Resume]) -> Callable[[Object, Ref], AnyAction]:
    return lambda _, target: action(policy=lives.NAME, target=target, reason=WHY)


def evicted(item: Object, target: Ref) -> AnyAction:
    return Evict(policy=lives.NAME, target=target, reason=WHY, node=item["spec"]["nodeName"], workload=None)


TAINTED = [{"key": KEY, "value": "a", "effect": "NoSchedule"}]
KINDS: dict[str, Kind] = {
    "Evict": Kind(guarded_pods, evicted, r"/eviction\b", lambda item: not item, gone=True),
    **{
        f"Suspend a {kind}": Kind(
            workload(kind, suspended=False), switched(Suspend), f"/{kind.lower()}s/", is_suspended
        )
        for kind in APPS
    },
    **{
        f"Resume a {kind}": Kind(workload(kind, suspended=True), switched(Resume), f"/{kind.lower()}s/", is_resumed)
        for kind in APPS
    },
    "Suspend a Job": Kind(
        workload("Job", suspended=False), switched(Suspend), "/jobs/", lambda item: item["spec"]["suspend"] is True
    ),
    "Resume a Job": Kind(
        workload("Job", suspended=True), switched(Resume), "/jobs/", lambda item: item["spec"]["suspend"] is False
    ),
    "SetNodeResources": Kind(
        a_node(),
        on_node(SetNodeResources, resources={AMOUNT: 7}),
        r"/nodes/[^/]+/status",
        lambda item: [item["status"][key].get(AMOUNT) for key in ("capacity", "allocatable")] == ["7", "7"],
    ),
    "Taint": Kind(a_node(), on_node(Taint, key=KEY, value="a"), "/nodes/", lambda item: taints(item) == [KEY]),
    "Untaint": Kind(a_node(taints=TAINTED), on_node(Untaint, key=KEY), "/nodes/", lambda item: not taints(item)),
    "Cordon": Kind(a_node(), on_node(Cordon), "/nodes/", lambda item: item["spec"].get("unschedulable") is True),
    "Uncordon": Kind(
        a_node(unschedulable=True), on_node(Uncordon), "/nodes/", lambda item: not item["spec"].get("unschedulable")
    ),
}


class Step(NamedTuple):
    """A write of a cycle, and whether the kill comes after it (its answer is not heard any more) or before.

    Attributes:
        methods, path: of the write; an empty path stands for the action's own.
        after: see above.
        acted: whether the action has been done by then.
    """

    methods: frozenset[str]
    path: str
    after: bool
    acted: bool


_MEMORY, _ACTS = "/configmaps", frozenset({"PATCH", "POST"})
STEPS = {
    "before the action": Step(_ACTS, "", after=False, acted=False),
    "after the action": Step(_ACTS, "", after=True, acted=True),
}
SLOW_STEPS = {
    "before the intent": Step(frozenset({"POST"}), _MEMORY, after=False, acted=False),
    "after a piece of the intent": Step(frozenset({"POST"}), _MEMORY, after=True, acted=False),
    "before the memory": Step(frozenset({"PUT"}), _MEMORY, after=False, acted=True),
    "after the memory": Step(frozenset({"PUT"}), _MEMORY, after=True, acted=True),
    "before the event": Step(frozenset({"POST"}), "events.k8s.io", after=False, acted=True),
}
USUAL = {
    "after the action": ("Evict", "Suspend a Deployment", "Suspend a Job", "SetNodeResources", "Taint"),
    "before the action": ("Evict", "Suspend a Deployment"),
}
"""The kinds that are tried each time: one for each way of writing, which the others share."""


def cases() -> Iterator[Any]:
    for kind in KINDS:
        for when, step in {**STEPS, **SLOW_STEPS}.items():
            if kind == "SetNodeResources" and when == "before the event":
                continue  # what is written each few minutes gets no Event
            usual = kind in USUAL.get(when, ())
            yield pytest.param(kind, step, id=f"{kind}, {when}", marks=[] if usual else [pytest.mark.slow])


@pytest.mark.parametrize(("kind", "step"), list(cases()))
def test_a_controller_that_is_killed_at_any_step_does_everything_once_when_it_is_started_again(
    kind: str, step: Step, control_plane: Testbed, namespace: str, tmp_path: Path
) -> None:
    chosen = KINDS[kind]
    item = chosen.make(control_plane, namespace, "target")
    meta = item["metadata"]
    target = Ref(item["kind"], meta["name"], meta.get("namespace", ""), meta["uid"])
    actions = [chosen.action(item, target)]
    if kind == "Evict":
        safe = found(control_plane, "pod", "target-protected", namespace)
        actions.append(evicted(safe, Ref("Pod", "target-protected", namespace, safe["metadata"]["uid"])))

    def now() -> Object:
        return found(control_plane, item["kind"], target.name, target.namespace)

    async def story() -> None:
        async with Proxy(control_plane.site) as proxy:
            path = step.path or chosen.path
            proxy.set(Fault(methods=step.methods, path=path, delay=0 if step.after else 1.0, drop=not step.after,
                            bytes_per_second=1 if step.after else None))  # fmt: skip
            async with living(proxy.kubeconfig, namespace, tmp_path / "first", actions):
                await true(lambda: proxy.struck > 0)
                if step.after and step.acted:
                    await true(lambda: chosen.is_done(now()))
            assert chosen.is_done(now()) == step.acted
            proxy.set()
            async with living(proxy.kubeconfig, namespace, tmp_path / "second", actions):
                await true(lambda: chosen.is_done(now()) and len(cycles(tmp_path / "second")) > 1)

    asyncio.run(story())
    first, *later = cycles(tmp_path / "second")
    names = [action["target"]["name"] for action in first["plans"][0]["actions"]]
    assert (target.name in names) is not step.acted
    done_now = [
        each["action"]["target"]["name"]
        for cycle in (first, *later)
        for each in cycle["outcomes"]
        if each["result"] == "Done"
    ]
    assert done_now == ([] if step.acted else [target.name])
    assert chosen.is_done(now())
    if kind == "Evict":
        kept = {each["metadata"]["name"] for each in items(control_plane, "pods", "-n", namespace)}
        assert kept == {"target-second", "target-third", "target-protected"}
    if item["kind"] == "Node":
        done(control_plane, "delete", "node", target.name, "--wait=false")


@asynccontextmanager
async def living(kubeconfig: Path, namespace: str, journal: Path, actions: list[AnyAction]) -> AsyncIterator[None]:
    """A controller, killed at the end."""
    process = lives.begin(kubeconfig, namespace, journal, actions)
    try:
        yield
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


async def true(holds: Callable[[], object]) -> None:
    """Wait, while the proxy goes on, until something holds."""
    await asyncio.to_thread(eventually, holds)


def cycles(journal: Path) -> list[Any]:
    return [cycle for _, cycle in read(journal, "journal")] if journal.exists() else []
