"""Process runtimes on real processes, and the proof that none is left behind."""

import asyncio
import contextlib
import os

import psutil
import pytest
from process_world import QUICK, processes_of

from crossfade.runtimes.process import ProcessRuntime


@pytest.fixture
def place(tmp_path):
    """A folder for run state; whatever still runs there after the test is a leak, and is ended."""
    yield tmp_path
    shims, marked = processes_of(tmp_path)
    for process in (*shims, *marked):
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert not shims, f"supervisors left behind: {shims}"
    assert not marked, f"processes left behind: {marked}"


@pytest.fixture
def make(place):
    """Makes runtimes of one target, each as a new Crossfade would; stops both slots at the end."""

    def runtime(**settings):
        defaults = {"state": place, "environment": "production", "component": "api", "root": place, "restarts": QUICK}
        return ProcessRuntime(**{**defaults, **settings})

    yield runtime

    async def stop():
        for slot in ("blue", "green"):
            await runtime().stop(slot)

    asyncio.run(stop())


@pytest.fixture
def runtime(make):
    return make()


@pytest.fixture
def switch(tmp_path):
    """A folder whose files change what the application does while it runs."""
    folder = tmp_path / "switch"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def engine(require):
    """A Docker Engine of our own, with the images `shop/api:1.0.0` and `:1.1.0`; only root can run one."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a Docker Engine of its own")
    from docker_world import Daemon, base_image, build  # noqa: PLC0415 - only these tests need Docker's SDK

    require("ip")
    daemon = Daemon(require("dockerd"), "--live-restore")
    try:
        daemon.start()
        client = daemon.client()
        base_image(client)
        for version in ("1.0.0", "1.1.0"):
            build(client, f"shop/api:{version}")
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def docker_runtime(engine, tmp_path):
    """Makes runtimes of one target, each as a new Crossfade would; nothing is left in the engine at the end."""
    from docker_world import make as make_runtime  # noqa: PLC0415 - as above

    def runtime(**settings):
        return make_runtime(settings.pop("url", engine.url), settings.pop("folder", tmp_path / "state"), **settings)

    yield runtime

    async def stop():
        for slot in ("blue", "green"):
            await runtime().stop(slot)

    asyncio.run(stop())
    client = engine.client()
    left = client.containers(all=True)
    for each in left:
        client.remove_container(each["Id"], force=True)
    assert not left, f"containers left behind: {[each['Names'] for each in left]}"
