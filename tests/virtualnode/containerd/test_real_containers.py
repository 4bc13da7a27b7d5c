"""Pods in real containers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from tests.virtualnode.containerd.pods import (
    GivenObjects,
    alone,
    ends,
    pod,
    running,
    said,
    shell,
    state_of,
    stopped,
    until,
    until_said,
)

from neaptide.testbed.realnodes import cgroups
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.host import survey
from neaptide.testbed.realnodes.images import Image
from neaptide.virtualnode.provider import ExecOptions, OutOfStockError, ProviderError, StreamTarget, UnknownPodError
from neaptide.virtualnode.providers.containerd.provider import Containerd
from neaptide.virtualnode.states import Ended, Running, Waiting

STDOUT = 1


@pytest.fixture
def play(container_host: ContainerHost) -> Callable[..., None]:
    """Runs a scene with a provider of its own, whose pods go when it ends."""

    def played(
        scene: Callable[[Containerd], Awaitable[None]], owner: str, objects: GivenObjects | None = None, **host: str
    ) -> None:
        async def run() -> None:
            provider = alone(container_host, owner, objects, **host)
            try:
                await scene(provider)
                for each in await provider.pods():
                    await provider.remove(each.uid)
            finally:
                await provider.close()

        asyncio.run(run())

    return played


def test_a_pod_gets_its_environment_files_addresses_and_limits(
    play: Callable[..., None], container_host: ContainerHost
) -> None:
    objects = GivenObjects()
    objects.secrets["login"] = {"password": b"wine"}
    objects.config_maps["settings"] = {"colour": b"blue", "size": b"7"}
    script = """
        echo $PASSWORD $colour $GREETING $POD $NODE $IP $HOST $CPU
        cat /settings/colour /secrets/of/mine /about/labels /token/token; echo
        echo kept > /scratch/file; cat /scratch/file; cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null
        printf 'all said' > /dev/termination-log; sleep 1000 & wait
    """
    environment = [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": True}}},
        {"name": "GREETING", "value": "dear-$(PASSWORD)-$(UNKNOWN)-$$(PASSWORD)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("settings", "secrets", "about", "scratch", "token")]
    token = {"serviceAccountToken": {"path": "token", "audience": "it", "expirationSeconds": 3600}}
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "secrets", "secret": {"secretName": "login", "items": [{"key": "password", "path": "of/mine"}]}},
        {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "token", "projected": {"sources": [token]}},
    ]
    container = shell(
        "main",
        script,
        env=environment,
        envFrom=[{"configMapRef": {"name": "settings"}}],
        volumeMounts=mounts,
        resources={"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m"}},
    )

    async def scene(provider: Containerd) -> None:
        it = pod(containers=[container], volumes=volumes)
        assert provider.refusal(it) == ""
        await provider.create(it)
        state = await until(provider, it.uid, running)
        written = await until_said(provider, it.uid, "kept")
        first, second, *_ = written.splitlines()
        expected = f"wine blue dear-wine-$(UNKNOWN)-$(PASSWORD) {it.name} virtual-1 {state.ip} 198.51.100.7 250"
        assert first == expected
        assert second == f'bluewineapp="it"token-1-for-{it.name}-it'
        running_state = state.containers[0].state
        assert isinstance(running_state, Running)
        group = _group(container_host, state.containers[0].container_id.removeprefix("containerd://"), "cpu")
        if (group / "cpu.cfs_quota_us").exists():
            assert (group / "cpu.cfs_quota_us").read_text().strip() == "25000"
            assert (group / "cpu.shares").read_text().strip() == "102"
        else:
            assert (group / "cpu.max").read_text().split()[0] == "25000"
        await provider.stop(it.uid, 0)
        ended = (await until(provider, it.uid, stopped)).containers[0].state
        assert isinstance(ended, Ended)
        assert (ended.exit_code, ended.message) == (137, "all said")

    play(scene, "own-facts", objects)


def _group(host: ContainerHost, container_id: str, controller: str) -> Path:
    tree = cgroups.of_controller(survey().hierarchies, controller)
    return tree.path / host.cgroup_parent.lstrip("/") / container_id


@pytest.mark.slow
def test_init_containers_run_one_by_one_before_the_containers(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        mount = [{"name": "work", "mountPath": "/data"}]
        inits = [shell(name, f"echo {name} >> /data/order", volumeMounts=mount) for name in ("one", "two")]
        both = [shell(name, f"echo {name} >> /data/order; cat /data/order", volumeMounts=mount) for name in ("main",)]
        it = pod(containers=both, initContainers=inits, volumes=[{"name": "work", "emptyDir": {}}])
        await provider.create(it)
        state = await until(provider, it.uid, stopped)
        assert ends(state) == {"one": 0, "two": 0, "main": 0}
        assert (await said(provider, it.uid)).split() == ["one", "two", "main"]

    play(scene, "inits")


def test_a_container_that_fails_is_begun_again_and_both_logs_are_there(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        script = "if [ -e /data/been ]; then echo second; else touch /data/been; echo first; exit 4; fi"
        container = shell("main", script, volumeMounts=[{"name": "work", "mountPath": "/data"}])
        it = pod(containers=[container], restartPolicy="OnFailure", volumes=[{"name": "work", "emptyDir": {}}])
        await provider.create(it)
        state = await until(provider, it.uid, stopped)
        again = state.containers[0]
        assert (again.restarts, ends(state)) == (1, {"main": 0})
        assert again.last is not None
        assert again.last.exit_code == 4
        assert await said(provider, it.uid) == "second\n"
        assert await said(provider, it.uid, previous=True) == "first\n"

    play(scene, "again")


@pytest.mark.slow
def test_a_container_that_keeps_failing_backs_off(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        it = pod("exit 1", restartPolicy="Always")
        await provider.create(it)

        def backs_off(state: object) -> bool:
            container = state.containers[0]  # type: ignore[attr-defined]
            return container.restarts == 1 and isinstance(container.state, Waiting)

        state = await until(provider, it.uid, backs_off)
        waiting = state.containers[0].state
        assert isinstance(waiting, Waiting)
        assert (waiting.reason, waiting.message) == (
            "CrashLoopBackOff",
            "back-off 10s restarting failed container=main",
        )
        assert not state.stopped

    play(scene, "backs-off")


def test_a_pod_is_ended_at_its_deadline(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        it = pod("sleep 1000", activeDeadlineSeconds=1, terminationGracePeriodSeconds=0)
        await provider.create(it)
        state = await until(provider, it.uid, stopped)
        assert (state.failed, state.reason, ends(state)) == (True, "DeadlineExceeded", {"main": 137})

    play(scene, "deadline")


@pytest.mark.slow
def test_a_stop_gives_its_grace_and_a_shorter_one_shortens_it(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        polite = pod("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
        stubborn = pod("trap '' TERM; echo up; while :; do sleep 0.05; done")
        for each in (polite, stubborn):
            await provider.create(each)
            await until_said(provider, each.uid, "up")
        await provider.stop(polite.uid, 60)
        await provider.stop(stubborn.uid, 600)
        assert ends(await until(provider, polite.uid, stopped)) == {"main": 0}
        assert await said(provider, polite.uid) == "up\nbye\n"
        state = await state_of(provider, stubborn.uid)
        assert state is not None
        assert not state.stopped
        await provider.stop(stubborn.uid, 0)
        assert ends(await until(provider, stubborn.uid, stopped)) == {"main": 137}

    play(scene, "stops")


def test_an_image_that_is_missing_is_waited_for(play: Callable[..., None], container_host: ContainerHost) -> None:
    image = Image(name="testbed.neaptide.io/late:1", command=("/bin/sh", "-c", "echo late"))

    async def scene(provider: Containerd) -> None:
        container = {"name": "main", "image": image.name, "imagePullPolicy": "Never"}
        it = pod(containers=[container])
        await provider.create(it)

        def refused(state: object) -> bool:
            waiting = state.containers[0].state  # type: ignore[attr-defined]
            return isinstance(waiting, Waiting) and waiting.reason == "ErrImageNeverPull"

        await until(provider, it.uid, refused)
        await asyncio.to_thread(container_host.load, image)
        assert ends(await until(provider, it.uid, stopped)) == {"main": 0}
        assert await said(provider, it.uid) == "late\n"

    play(scene, "late-image")


@pytest.mark.slow
def test_an_image_of_a_registry_that_does_not_answer_says_so(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        it = pod(containers=[{"name": "main", "image": "127.0.0.1:1/nothing/here:1"}])
        await provider.create(it)

        def refused(state: object) -> bool:
            waiting = state.containers[0].state  # type: ignore[attr-defined]
            return (
                isinstance(waiting, Waiting) and waiting.reason == "ErrImagePull" and "127.0.0.1:1" in waiting.message
            )

        await until(provider, it.uid, refused)
        await provider.remove(it.uid)
        assert await provider.pods() == []

    play(scene, "no-registry")


@pytest.mark.slow
def test_a_missing_config_map_is_waited_for(play: Callable[..., None]) -> None:
    objects = GivenObjects()

    async def scene(provider: Containerd) -> None:
        container = shell("main", "echo $a", envFrom=[{"configMapRef": {"name": "later"}}])
        it = pod(containers=[container])
        await provider.create(it)

        def refused(state: object) -> bool:
            waiting = state.containers[0].state  # type: ignore[attr-defined]
            return isinstance(waiting, Waiting) and waiting.reason == "CreateContainerConfigError"

        state = await until(provider, it.uid, refused)
        waiting = state.containers[0].state
        assert isinstance(waiting, Waiting)
        assert "configmap 'later' not found" in waiting.message
        objects.config_maps["later"] = {"a": b"here"}
        await until(provider, it.uid, stopped)
        assert await said(provider, it.uid) == "here\n"

    play(scene, "later", objects)


@pytest.mark.slow
def test_who_may_not_be_root_does_not_run_as_root(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        root = pod("id -u", securityContext={"runAsNonRoot": True})
        other = pod("id -u; id -g", securityContext={"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1001})
        for each in (root, other):
            await provider.create(each)
        await until(provider, other.uid, stopped)
        assert (await said(provider, other.uid)).split() == ["1000", "1001"]

        def refused(state: object) -> bool:
            waiting = state.containers[0].state  # type: ignore[attr-defined]
            return isinstance(waiting, Waiting) and "runAsNonRoot" in waiting.message

        await until(provider, root.uid, refused)

    play(scene, "not-root")


def test_logs_are_followed_until_the_container_ends(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        it = pod("for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done")
        await provider.create(it)
        followed = await said(provider, it.uid, follow=True)
        assert followed == "".join(f"line {n}\n" for n in range(1, 6))
        assert await said(provider, it.uid, tail=2) == "line 4\nline 5\n"
        stamped = (await said(provider, it.uid, timestamps=True, tail=1)).split(" ", 1)
        assert stamped[0].endswith("Z")
        with pytest.raises(UnknownPodError, match="accepted: main"):
            await said(provider, it.uid, "other")

    play(scene, "follows")


def test_commands_and_ports_are_reached_over_the_runtimes_own_streams(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        it = pod("echo up; sleep 1000")
        await provider.create(it)
        await until(provider, it.uid, running)
        target = await provider.exec(it.uid, "main", ExecOptions(("sh", "-c", "echo out; cat /etc/hostname")))
        assert await _streamed(target) == f"out\n{it.name}\n"
        assert (await provider.port_forward(it.uid, [80])).url.startswith("http://127.0.0.1:")
        stats = [each for each in await provider.stats() if each.uid == it.uid]
        assert [each.name for each in stats[0].containers] == ["main"]
        assert (stats[0].containers[0].memory or 0) > 0

    play(scene, "streams")


async def _streamed(target: StreamTarget) -> str:
    url = target.url.replace("http://", "ws://")
    found = b""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket,
    ):
        async for message in socket:
            if message.data[0] == STDOUT:
                found += message.data[1:]
    return found.decode()


@pytest.mark.slow
def test_what_no_host_has_room_for_is_out_of_stock_and_says_whether_it_ever_could(play: Callable[..., None]) -> None:
    async def scene(provider: Containerd) -> None:
        def asking(cpu: str) -> dict[str, object]:
            return shell("main", "sleep 1000", resources={"requests": {"cpu": cpu}})

        first = pod(containers=[asking("1500m")])
        await provider.create(first)
        with pytest.raises(OutOfStockError, match="no host has 600m CPU"):
            await provider.create(pod(containers=[asking("600m")]))
        with pytest.raises(OutOfStockError, match="and none is that large"):
            await provider.create(pod(containers=[asking("3")]))
        await provider.create(pod(containers=[asking("500m")]))
        await until(provider, first.uid, running)

    play(scene, "small", cpu="2", memory="4Gi")


def test_a_second_process_on_the_same_host_is_refused(play: Callable[..., None], container_host: ContainerHost) -> None:
    async def scene(provider: Containerd) -> None:
        await provider.ping()
        second = alone(container_host, "twice")
        with pytest.raises(ProviderError, match="is another process's"):
            await second.ping()
        await second.close()

    play(scene, "twice")


def test_a_removed_pod_leaves_nothing_but_the_fact_that_it_ran(
    play: Callable[..., None], container_host: ContainerHost
) -> None:
    async def scene(provider: Containerd) -> None:
        it = pod("sleep 0.2")
        await provider.create(it)
        await until(provider, it.uid, stopped)
        (before,) = await provider.runs(0)
        await provider.remove(it.uid)
        await provider.remove(it.uid)
        (after,) = await provider.runs(0)
        assert before == after
        assert after.ended is not None
        assert after.ended - after.started >= 0.2
        assert list((container_host.root / "var/lib/leaves/pods").iterdir()) == []

    play(scene, "leaves")
