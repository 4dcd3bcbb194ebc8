"""What goes wrong around containers: every fault is told with its cause, and nothing is started twice or left behind."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from docker_world import OURS, build, release

from crossfade.config.model import Component, Ready
from crossfade.config.runtimes import Resources
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.runtimes.docker.ports import is_free
from crossfade.runtimes.port import Release
from crossfade.testing.runtime_contract import all_ready, eventually
from patience import PATIENCE

pytestmark = [pytest.mark.real, pytest.mark.slow]
NAME = "crossfade-shop-production-api-blue-0"


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
        return json.loads(answer.read())


async def up(runtime, *arguments, count=1, version="1.0.0", **settings):
    await runtime.start("blue", release(version, *arguments, **settings), count)
    return await eventually(runtime, all_ready(count))


async def test_what_the_program_is_told(docker_runtime, engine):
    runtime = docker_runtime(variables={"SHARED": "1"})
    more = {"environment": {"WHO": "{instance} {version} {port}"}, "resources": Resources(memory=200_000_000, cpus=0.5)}
    (one,) = await up(runtime, **more)
    told = await asyncio.to_thread(get, one.address, "/environment")
    assert told["WHO"] == "api-blue-0 1.0.0 8000"
    assert (told["PORT"], told["CROSSFADE_VERSION"], told["SHARED"]) == ("8000", "1.0.0", "1")
    made = engine.client().inspect_container(NAME)
    host, labels = made["HostConfig"], made["Config"]["Labels"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (200_000_000, 200_000_000, 500_000_000)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10000000", "max-file": "6"}}
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": OURS, "HostPort": one.address.partition(":")[2]}]}
    assert (labels["crossfade.project"], labels["crossfade.slot"], labels["crossfade.version"]) == (
        "shop",
        "blue",
        "1.0.0",
    )
    assert labels["crossfade.image"] == made["Image"] == engine.client().inspect_image("shop/api:1.0.0")["Id"]


async def test_a_sick_instance_is_unready_and_a_new_crossfade_does_not_believe_it_at_first_sight(docker_runtime):
    runtime = docker_runtime()
    (one,) = await up(runtime)
    await asyncio.to_thread(urllib.request.urlopen, f"http://{one.address}/sick", timeout=5)
    (sick,) = await eventually(runtime, lambda seen: seen[0].state == "unready")
    assert sick.failures >= 3
    assert "GET /healthz answered 503 Service Unavailable: no disk" in sick.detail
    assert "It printed last: " in sick.detail
    assert "a warning" in sick.detail
    code = f"""if True:
        import asyncio
        from docker_world import make
        from pathlib import Path
        seen = asyncio.run(make({runtime._settings.host!r}, Path({str(runtime._records._folder)!r})).observe())
        print(seen[0].state)
    """
    said, _ = await asyncio.to_thread(caller(code).communicate, timeout=PATIENCE)
    assert said.strip() == "unready"
    await asyncio.to_thread(urllib.request.urlopen, f"http://{one.address}/well", timeout=5)
    await eventually(runtime, all_ready(1))


async def test_nothing_listens_on_the_port_that_the_file_names(docker_runtime):
    runtime = docker_runtime()
    await runtime.start("blue", release("1.0.0", port=8000, command=("9000",)), 1)
    (one,) = await eventually(runtime, lambda seen: "nothing listens on its port 8000/tcp" in seen[0].detail)
    assert (one.state, one.failures) == ("starting", 0)


async def test_one_that_takes_too_much_memory_is_told_so(docker_runtime):
    runtime = docker_runtime()
    await runtime.start("blue", release("1.0.0", "--eat", "200", resources=Resources(memory=40_000_000)), 1)
    (one,) = await eventually(runtime, lambda seen: seen[0].state == "backing-off" and "memory" in seen[0].detail)
    assert "it took more than its memory of 40 MB" in one.detail
    assert "137" in one.detail


async def test_one_that_does_not_end_is_killed_after_its_grace(docker_runtime, engine):
    runtime = docker_runtime()
    (one,) = await up(runtime, "--ignore-term", grace=1.0)
    pid = one.pid
    await runtime.stop("blue")
    assert await runtime.observe() == ()
    assert engine.client().containers(all=True) == []
    assert not psutil.pid_exists(pid)
    last = [line async for line in runtime.logs(slot="blue")]
    assert "hello from 1.0.0" in [line.text for line in last]


async def test_one_that_somebody_removed_is_gone_and_comes_back(docker_runtime, engine):
    runtime = docker_runtime()
    before = await up(runtime, count=2)
    engine.client().remove_container("crossfade-shop-production-api-blue-1", force=True)
    seen = await runtime.observe()
    assert [each.state for each in seen] == ["ready", "gone"]
    assert "its container is not there" in seen[1].detail
    await runtime.start("blue", release("1.0.0"), 2)
    after = await eventually(runtime, all_ready(2))
    assert after[0].since == before[0].since


async def test_one_that_somebody_stopped_is_gone_and_paused_is_unready(docker_runtime, engine):
    runtime = docker_runtime()
    (one,) = await up(runtime)
    client = engine.client()
    client.pause(NAME)
    (paused,) = await runtime.observe()
    assert (paused.state, "docker unpause" in paused.detail) == ("unready", True)
    client.unpause(NAME)
    client.stop(NAME, timeout=1)
    (stopped,) = await runtime.observe()
    assert (stopped.state, "docker start" in stopped.detail) == ("gone", True)
    await runtime.start("blue", release("1.0.0"), 1)
    (again,) = await eventually(runtime, all_ready(1))
    assert again.address == one.address


async def test_the_images_own_check_is_heard(docker_runtime, engine):
    check = 'HEALTHCHECK --interval=1s --retries=1 CMD ["/nothing/of/that/name"]'
    build(engine.client(), "shop/checked:1.0.0", changes=(check,))
    runtime = docker_runtime()
    await runtime.start("blue", release("1.0.0", image="shop/checked:{version}"), 1)
    (one,) = await eventually(runtime, lambda seen: "HEALTHCHECK says unhealthy" in seen[0].detail)
    assert one.state == "unready"


async def test_a_command_that_the_image_does_not_have(docker_runtime, engine):
    build(engine.client(), "shop/bare:1.0.0", changes=("ENTRYPOINT []",))
    runtime = docker_runtime()
    wrong = Release("1.0.0", Component(image="shop/bare:1.0.0", port=8000, command=("/no/such/program",)))
    with contextlib.suppress(BadInputError):  # with an init in front, it is the init that cannot find it
        await runtime.start("blue", wrong, 1)
        (one,) = await eventually(runtime, lambda seen: seen[0].state == "backing-off")
        assert "/no/such/program" in one.detail
        return
    assert await runtime.observe() == ()


async def test_without_a_command_the_images_own_runs_and_is_asked_whether_it_is_ready(docker_runtime, engine):
    build(engine.client(), "shop/own:1.0.0", changes=('CMD ["8000"]',))
    runtime = docker_runtime()
    await up(runtime, image="shop/own:{version}", command=(), ready=Ready(path="/version"))
    await runtime.stop("blue")
    image = "shop/own:{version}"
    await runtime.start("blue", release("1.0.0", "--never-ready", image=image, ready=Ready(path="/version")), 1)
    (one,) = await eventually(runtime, lambda seen: seen[0].failures > 1)
    assert (one.state, "GET /healthz answered 503" in one.detail) == ("starting", True)


async def test_a_port_of_somebody_else_is_left_to_them(docker_runtime):
    runtime = docker_runtime()
    (one,) = await up(runtime)
    port = int(one.address.partition(":")[2])
    await runtime.stop("blue")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((OURS, port))
        other.listen()
        assert not is_free(OURS, port)
        (another,) = await up(runtime)
    assert another.address != one.address


async def test_a_container_of_that_name_that_is_not_ours(docker_runtime, engine):
    client = engine.client()
    client.create_container("shop/api:1.0.0", command=["1"], name=NAME)
    with pytest.raises(CrossfadeError) as refused:
        await docker_runtime().start("blue", release("1.0.0"), 1)
    assert refused.value.code == "docker.name-taken"
    assert "docker rename" in refused.value.next
    client.remove_container(NAME)


@pytest.mark.parametrize("missing", ["image", "port"])
async def test_a_component_that_says_too_little(docker_runtime, missing):
    with pytest.raises(BadInputError) as refused:
        await docker_runtime().start("blue", release("1.0.0", **{missing: None}), 1)
    assert refused.value.code == f"docker.no-{missing}"


async def test_networks_are_joined(docker_runtime, engine):
    client = engine.client()
    with pytest.raises(BadInputError) as refused:
        await docker_runtime(networks=("backend",)).start("blue", release("1.0.0"), 1)
    assert refused.value.code == "docker.no-network"
    network = client.create_network("backend")["Id"]
    try:
        runtime = docker_runtime(networks=("backend",))
        await up(runtime)
        assert set(client.inspect_container(NAME)["NetworkSettings"]["Networks"]) == {"bridge", "backend"}
        await runtime.stop("blue")
    finally:
        client.remove_network(network)


START = """if True:
    import asyncio
    from pathlib import Path
    from docker_world import make, release
    print("now", flush=True)
    asyncio.run(make({url!r}, Path({folder!r})).start("blue", release("1.0.0"), 3))
"""


def caller(code):
    """A process of its own that has what the tests here have."""
    path = os.pathsep.join(map(str, Path(__file__).parents[:2]))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )


async def test_killed_while_it_starts_at_many_moments(docker_runtime, engine, tmp_path):
    runtime = docker_runtime()
    code = START.format(url=engine.url, folder=str(tmp_path / "state"))
    for moment in (0.05, 0.15, 0.3, 0.6):
        process = caller(code)
        await asyncio.to_thread(process.stdout.readline)
        await asyncio.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        seen = await runtime.observe()
        assert len(seen) in (0, 3)
        assert all(each.state in ("starting", "ready", "gone") for each in seen)
    others = [caller(code) for _ in range(2)]
    await runtime.start("blue", release("1.0.0"), 3)
    await asyncio.gather(*(asyncio.to_thread(each.communicate, timeout=PATIENCE) for each in others))
    assert [each.returncode for each in others] == [0, 0]
    seen = await eventually(runtime, all_ready(3))
    assert len(engine.client().containers(all=True)) == 3
    os.kill(seen[2].pid, signal.SIGKILL)
    await eventually(runtime, lambda now: all_ready(3)(now) and now[2].restarts == 1)


async def test_the_state_folder_is_lost(docker_runtime, engine, tmp_path):
    before = await up(docker_runtime(), count=2)
    other = docker_runtime(folder=tmp_path / "elsewhere")
    after = await eventually(other, all_ready(2))
    assert [each.since for each in after] == [each.since for each in before]
    began = time.time()
    await other.start("blue", release("1.0.0"), 2)
    assert all(each.since < began for each in await other.observe())
    await other.stop("blue")
    assert await other.observe() == ()
    assert engine.client().containers(all=True) == []
