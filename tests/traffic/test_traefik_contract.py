"""Traefik keeps the router contract."""

import asyncio

import pytest
from traefik_world import forget, kill, traefik
from traffic_world import visitor

from crossfade.testing.router_contract import RouterContract
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def router(place, require):
    require("traefik")
    made = traefik(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


class TestTraefik(RouterContract):
    def again(self, router):
        return traefik(router._folder, router._settings.listen)

    async def visit(self, router, requests):
        async with visitor(router.address) as client:
            for _ in range(requests):
                assert (await client.get("/")).status_code == 200

    async def empty(self, router):
        await forget(router)

    async def cut(self, router):
        await kill(router._traefik.child)

    async def mend(self, router):
        """`apply` starts it by itself."""
