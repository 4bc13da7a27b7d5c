"""One pod: a task that looks at what its host has of it, takes the next step, and waits until something changes.

Nothing is remembered between two looks that the runtime or the pod's folder does not keep. A process that is killed between any two calls
leaves a pod that the next one goes on with: a sandbox that is there is used, a container that was created is started, one that ran is not
started again unless its restart policy says so. The runtime refuses a second container of the same name and attempt.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from neaptide.virtualnode.cri.client import CriError
from neaptide.virtualnode.provider import ProviderError, VirtualPod
from neaptide.virtualnode.providers.containerd import environment, images, lifecycle, messages
from neaptide.virtualnode.providers.containerd.lifecycle import CREATED, EXITED, RUNNING, Attempts, Seen, Step
from neaptide.virtualnode.providers.containerd.objects import Fetched, Objects, fetch
from neaptide.virtualnode.providers.containerd.runtime import Runtime
from neaptide.virtualnode.providers.containerd.volumes import PodFolder
from neaptide.virtualnode.states import PodState, Waiting

DEADLINE = "DeadlineExceeded"
LOST = "SandboxLost"
_RETRY_FIRST, _RETRY_LONGEST = 1.0, 60.0
_CREATE_SECONDS = 120.0


class Facts(Struct, frozen=True):
    """What no runtime keeps of a pod.

    Attributes:
        created: when it was taken (epoch seconds); sandbox: when its sandbox was there.
        stopping: with what grace it was asked to end; None while nobody has.
        failed: why it was ended by the provider; empty where it was not.
        message: the sentence to it.
        ip: its address.
    """

    created: float
    sandbox: float | None = None
    stopping: float | None = None
    failed: str = ""
    message: str = ""
    ip: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing of it is started any more."""
        return self.stopping is not None or bool(self.failed)


class Runner:
    """A pod on its host.

    Args:
        pod: as it was taken, or found in its folder.
        folder: where it is kept.
        runtime: of its host.
        objects: what its spec names.
        owner: the provider's name.
        tell: called with each new state.
        clock: seconds since the epoch.

    Attributes:
        state: as it was last told.
    """

    def __init__(
        self,
        pod: VirtualPod,
        facts: Facts,
        *,
        folder: PodFolder,
        runtime: Runtime,
        objects: Objects,
        owner: str,
        tell: Callable[[PodState], None],
        clock: Callable[[], float],
    ) -> None:
        self.pod, self.facts, self.folder, self.runtime = pod, facts, folder, runtime
        self._objects, self._owner, self._tell, self._clock = objects, owner, tell, clock
        self._awake = asyncio.Event()
        self._waiting: dict[str, Waiting] = {}
        self._tries: dict[str, tuple[float, float]] = {}
        """By container: the back-off after an attempt that failed, and when the next one is due (loop time)."""
        self._fetched: Fetched | None = None
        self._tokens_due: float | None = None
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._stop_grace: float | None = None
        self.found: Attempts = {}
        self.state = self._shown()
        self._task: asyncio.Task[None] | None = None
        self._making: asyncio.Task[Any] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"pod {self._called}")

    def wake(self) -> None:
        """Look again now."""
        self._awake.set()

    def stop(self, grace: float) -> None:
        """Ask for its end: at most `grace` seconds from now, and no later than was asked for before."""
        before = self.facts.stopping
        if before is None or grace < before:
            self._note(stopping=grace)
        self.wake()

    async def refresh(self) -> None:
        """Look at what there is, without taking a step: after a restart nobody is told less than is known. Raises CriError."""
        self.found = lifecycle.attempts(self._with_messages(await self.runtime.containers(self.pod.uid)))
        self.state = self._shown()

    async def halt(self, *, settled: bool = False) -> None:
        """Look after it no more; what runs goes on. With `settled`, what is being made is there, or has come to nothing, when this returns."""
        tasks = [task for task in (self._task, *self._stops.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._making is not None:
            if not settled:
                self._making.cancel()
            await asyncio.wait({self._making})

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            try:
                due = await self._look()
            except Exception as error:  # noqa: BLE001 - one pod that cannot be understood must not be left alone in silence
                if not isinstance(error, ProviderError):
                    trace = "".join(traceback.format_exception(error))  # without values: some are secret
                    structlog.get_logger().error("a pod cannot be looked after", pod=self._called, trace=trace)
                due = self._clock() + self._later("", str(error) or type(error).__name__)
            else:
                self._tries.pop("", None)
            self._publish()
            wait = None if due is None else max(0.0, min(due - self._clock(), _RETRY_LONGEST))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._awake.wait()

    async def _look(self) -> float | None:
        """Take the steps that are due; when to look again where nothing changes."""
        self.found = lifecycle.attempts(self._with_messages(await self.runtime.containers(self.pod.uid)))
        self._publish()
        if not self.facts.over and self._deadline() <= self._clock():
            self._note(failed=DEADLINE, message="Pod was active on the node longer than the specified deadline")
        if self.facts.over:
            self._end()
            return None
        if self._finished():
            return None
        sandbox = await self._sandbox()
        if sandbox is None:
            self._end()
            return None
        dues = [self._deadline(), await self._renew_tokens()]
        while True:
            wanted = lifecycle.next_of(self.pod.spec, self.found, self._clock())
            steps = [step for step in wanted.steps if self._is_due(step.name)]
            started = [await self._start(step, sandbox) for step in steps]
            if not any(started):
                break
            self.found = lifecycle.attempts(self._with_messages(await self.runtime.containers(self.pod.uid)))
            self._publish()
            if self._asked_to_end():
                self._end()
                return None
        for old in lifecycle.superseded(self.found):
            await self.runtime.remove_container(old.id)
        loop = asyncio.get_running_loop().time()
        dues += [wanted.due, *(self._clock() + due - loop for name, (_, due) in self._tries.items() if name)]
        return min((due for due in dues if due is not None and due != float("inf")), default=None)

    def _end(self) -> None:
        """See that everything that runs is being stopped."""
        grace = self.facts.stopping
        if grace is None:
            grace = float(self.pod.spec.get("terminationGracePeriodSeconds", 30))
        shorter = self._stop_grace is not None and grace < self._stop_grace
        self._stop_grace = grace
        for each in _latest(self.found):
            task = self._stops.get(each.id)
            if each.state == RUNNING and (task is None or task.done() or shorter):
                self._stops[each.id] = asyncio.create_task(self._stopped(each.id, grace))

    async def _stopped(self, container_id: str, grace: float) -> None:
        try:
            await self.runtime.stop(container_id, grace)
        except CriError:
            await asyncio.sleep(_RETRY_FIRST)  # the look that follows asks again
        self.wake()

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def _sandbox(self) -> tuple[str, Any] | None:
        """The sandbox's ID and what it was made with; None where the pod has lost the one that it ran in."""
        config = messages.sandbox(
            self.pod,
            owner=self._owner,
            log_directory=str(self.folder.on_host / "logs"),
            cgroup_parent=self.runtime.host.cgroup_parent,
        )
        there = await self.runtime.sandboxes(self.pod.uid)
        ready = next((each for each in there if each.state == 0), None)
        if ready is None and self.found:
            self._note(failed=LOST, message=f"the host {self.runtime.host.name} has lost the pod's sandbox")
            return None
        if ready is None:
            for half in there:  # one whose network was never made, say
                await self.runtime.remove_sandbox(half.id)
            await asyncio.to_thread(self.folder.prepare, self.pod)
            answer = await self._make("RunPodSandbox", config=config)
            sandbox_id = str(answer.pod_sandbox_id)
        else:
            sandbox_id = str(ready.id)
        if self.facts.sandbox is None or not self.facts.ip:
            status = (await self.runtime.cri.call("PodSandboxStatus", pod_sandbox_id=sandbox_id)).status
            self._note(sandbox=status.created_at / 1e9, ip=status.network.ip)
            self._publish()
        return sandbox_id, config

    async def _start(self, step: Step, sandbox: tuple[str, Any]) -> bool:
        """Create and start a container; whether it was. What keeps it from that is shown as the reason why it waits."""
        try:
            container_id = step.id or await self._create(step, sandbox)
            await self._make("StartContainer", container_id=container_id)
        except images.ImageError as error:
            self._later(step.name, str(error), error.reason)
            return False
        except ProviderError as error:
            reason = "CreateContainerError" if isinstance(error, CriError) else error.reason
            self._fetched = None  # what was missing may be there by then
            self._later(step.name, str(error), reason)
            return False
        self._tries.pop(step.name, None)
        self._waiting.pop(step.name, None)
        return True

    async def _create(self, step: Step, sandbox: tuple[str, Any]) -> str:
        spec = self._spec(step.name)
        fetched = await self._materials()
        secrets = [
            fetched.data.get(("secret", each["name"])) or {} for each in self.pod.spec.get("imagePullSecrets") or ()
        ]
        image = await images.ensure(self.runtime.cri, spec, secrets)
        await self._check_user(spec, image)
        values = environment.environment(self.pod, spec, fetched, self.facts.ip, self.runtime.host.address)
        config = messages.container(
            self.pod,
            spec,
            owner=self._owner,
            attempt=step.attempt,
            image=image,
            environment=values,
            command=environment.words(spec.get("command") or (), values),
            arguments=environment.words(spec.get("args") or (), values),
            mounts=await asyncio.to_thread(self.folder.mounts, spec, step.attempt),
        )
        sandbox_id, sandbox_config = sandbox
        answer = await self._make(
            "CreateContainer", pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox_config
        )
        return str(answer.container_id)

    async def _make(self, call: str, **fields: Any) -> Any:  # noqa: ANN401 - messages of CRI
        """A call that makes something. A runtime may go on with it when its caller does not wait any more, so it is never broken off by `halt`."""
        self._making = asyncio.create_task(self.runtime.cri.call(call, within=_CREATE_SECONDS, **fields))
        return await asyncio.shield(self._making)

    async def _materials(self) -> Fetched:
        """What the spec names, fetched and written once."""
        if self._fetched is None:
            fetched = await fetch(self.pod, self._objects)
            await asyncio.to_thread(self.folder.fill, self.pod, fetched, self.facts.ip, self.runtime.host.address)
            self._tokens_due = await self.folder.renew_tokens(self.pod, self._objects)
            self._fetched = fetched
        return self._fetched

    async def _renew_tokens(self) -> float | None:
        if self._tokens_due is not None and self._tokens_due <= self._clock():
            self._tokens_due = await self.folder.renew_tokens(self.pod, self._objects)
        return self._tokens_due

    async def _check_user(self, spec: Mapping[str, Any], image: str) -> None:
        """Raises ProviderError where a container may not run as root and would."""
        security = {**(self.pod.spec.get("securityContext") or {}), **(spec.get("securityContext") or {})}
        if not security.get("runAsNonRoot"):
            return
        user = security.get("runAsUser")
        if user is None:
            found = (await self.runtime.cri.call("ImageStatus", image={"image": image})).image
            user = 0 if found.username in ("", "root") and not found.uid.value else found.uid.value or found.username
        if user == 0:
            raise _config_error("container has runAsNonRoot and image will run as root")

    # -- what is known -------------------------------------------------------------------------------------------------

    @property
    def _called(self) -> str:
        return f"{self.pod.namespace}/{self.pod.name}"

    def _spec(self, name: str) -> Mapping[str, Any]:
        return environment.container_named(self.pod, name)

    def _with_messages(self, seen: list[Seen]) -> list[Seen]:
        """Containers that have ended, with what they left as their message."""
        return [
            each._replace(message=self.folder.message(each.name, each.attempt) or each.message)
            if each.state == EXITED
            else each
            for each in seen
        ]

    def _finished(self) -> bool:
        """Whether all has ended for good."""
        policy = self.pod.spec.get("restartPolicy") or "Always"
        inits = [self.found.get(each["name"], ()) for each in self.pod.spec.get("initContainers") or ()]
        failed = any(runs and runs[-1].state == EXITED and runs[-1].exit_code for runs in inits)
        if failed and policy == "Never":
            return True
        ends = [self.found.get(each["name"], ()) for each in self.pod.spec["containers"]]
        return all(runs and runs[-1].state == EXITED and not lifecycle.begins_again(runs[-1], policy) for runs in ends)

    def _asked_to_end(self) -> bool:
        """Whether it was, while this look went on."""
        return self.facts.over

    def _deadline(self) -> float:
        seconds = self.pod.spec.get("activeDeadlineSeconds")
        return float("inf") if seconds is None or self._finished() else self.facts.created + seconds

    def _is_due(self, name: str) -> bool:
        _, due = self._tries.get(name, (0.0, 0.0))
        return asyncio.get_running_loop().time() >= due

    def _later(self, name: str, message: str, reason: str = "") -> float:
        """Note that a step failed and when it is tried again; in how many seconds that is."""
        wait = min(_RETRY_LONGEST, 2 * self._tries[name][0]) if name in self._tries else _RETRY_FIRST
        self._tries[name] = (wait, asyncio.get_running_loop().time() + wait)
        if name:
            self._waiting[name] = Waiting(reason, message)
        else:
            self._waiting |= {
                each: Waiting("ContainerCreating", message) for each in self._names() if each not in self.found
            }
        return wait

    def _names(self) -> list[str]:
        return [each["name"] for each in [*(self.pod.spec.get("initContainers") or ()), *self.pod.spec["containers"]]]

    def _note(self, **facts: Any) -> None:  # noqa: ANN401 - fields of Facts
        """Keep facts, before anybody acts on them."""
        self.facts = replace(self.facts, **facts)
        self.folder.save("facts.json", self.facts)

    def _publish(self) -> None:
        state = self._shown()
        if state != self.state:
            self.state = state
            self._tell(state)

    def _shown(self) -> PodState:
        spec, facts, now = self.pod.spec, self.facts, self._clock()
        policy = spec.get("restartPolicy") or "Always"
        never = "Never" if policy == "Never" else "OnFailure"
        latest = _latest(self.found)
        ended = facts.over and not any(each.state in (RUNNING, CREATED) for each in latest)
        common: dict[str, Any] = {"waiting": self._waiting, "over": facts.over, "now": now}
        return PodState(
            uid=self.pod.uid,
            namespace=self.pod.namespace,
            name=self.pod.name,
            node=spec.get("nodeName") or "",
            containers=lifecycle.shown(spec["containers"], self.found, policy=policy, **common),
            init_containers=lifecycle.shown(spec.get("initContainers") or (), self.found, policy=never, **common),
            created=facts.created,
            sandbox=facts.sandbox,
            ip=facts.ip,
            host_ip=self.runtime.host.address,
            reason=facts.failed,
            message=facts.message,
            failed=bool(facts.failed) or (ended and len(latest) < len(spec["containers"])),
        )


def _latest(found: Attempts) -> list[Seen]:
    return [runs[-1] for runs in found.values()]


def _config_error(message: str) -> ProviderError:
    error = ProviderError(message)
    error.reason = "CreateContainerConfigError"
    return error
