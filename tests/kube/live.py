"""Short ways to make and ask for things in the control plane that these tests share."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.testbed.asking import done, one

from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator, Patience
from neaptide.kube.controller import Controller, Options
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.model.actions import Action, Evict, Outcome, Reason, Ref
from neaptide.testbed.cluster import Testbed

Result = TypeVar("Result")
WHY = Reason("Test", "a test wants it")


def speaking(testbed: Testbed, ask: Callable[[Client], Coroutine[Any, Any, Result]]) -> Result:
    """What a conversation with the API server gives."""

    async def conversation() -> Result:
        async with Client(load(testbed.kubeconfig), qps=200, burst=400) as client:
            return await ask(client)

    return asyncio.run(conversation())


def acted(testbed: Testbed, *actions: Action, **options: Any) -> list[tuple[str, str]]:
    """Carry actions out; result and reason of each."""
    return [(each.result, each.reason.code) for each in outcomes(testbed, *actions, **options)]


def outcomes(testbed: Testbed, *actions: Action, dry_run: bool = False, **options: Any) -> list[Outcome]:
    """Carry actions out."""

    async def act(client: Client) -> list[Outcome]:
        patience = Patience(each=10.0, first_pause=0.02)
        return await Actuator(Api(client, time.time, dry_run), patience=patience, **options).carry_out(actions)  # type: ignore[arg-type]

    return speaking(testbed, act)


def eventually(holds: Callable[[], object], what: str = "it comes true", *, within: float = 180.0) -> None:
    """Wait until something holds; `what` says it."""
    due = time.monotonic() + within
    while not holds():
        assert time.monotonic() < due, f"not within {within:g} s: {what}"
        time.sleep(0.05)


def found(testbed: Testbed, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    """An object as it is now; empty where it is not there."""
    return one(testbed, kind, name, namespace)


def make(testbed: Testbed, *manifests: dict[str, Any], namespace: str = "") -> None:
    """Create objects."""
    where = ("--namespace", namespace) if namespace else ()
    done(
        testbed,
        "create",
        *where,
        "--filename=-",
        content=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}),
    )


def pod(name: str, *, node: str, labels: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    """A pod that is bound already."""
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}, **meta},
        "spec": {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0},
    }


def budget(name: str, labels: dict[str, str], *, minimum: int) -> dict[str, Any]:
    spec = {"minAvailable": minimum, "selector": {"matchLabels": labels}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


def job(name: str, *, parallelism: int = 1, **spec: Any) -> dict[str, Any]:
    """A Job that never ends: its pods stay pending, whatever nodes there are."""
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "100m"}}}
    nowhere = {"neaptide.io/test": "nowhere"}
    template = {"spec": {"containers": [container], "restartPolicy": "Never", "nodeSelector": nowhere}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"parallelism": parallelism, "completions": parallelism, "template": template, **spec},
    }


def eviction(testbed: Testbed, name: str, namespace: str, node: str, **changes: Any) -> Evict:
    """The eviction of a pod as it is now."""
    target = Ref("Pod", name, namespace, found(testbed, "pod", name, namespace)["metadata"]["uid"])
    return Evict(policy="test", target=target, reason=WHY, node=node, workload=None, **changes)


async def running(testbed: Testbed, directory: Path, check: Any, **options: Any) -> None:
    """Run a controller while a check runs in a thread beside it."""
    chosen = Options(namespace="default", interval=1.0, journal=directory, **options)
    controller = Controller(load(testbed.kubeconfig), chosen)
    task = asyncio.create_task(controller.run())
    try:
        await asyncio.to_thread(check)
    finally:
        controller.stop()
        await task
