"""Traefik keeps the router contract, with visitors on the line too."""

import asyncio

import pytest
from traefik_world import forget, kill, traefik

from crossfade.testing.router_traffic_contract import RouterTrafficContract
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def router(place, require):
    require("traefik")
    made = traefik(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


class TestTraefik(RouterTrafficContract):
    def again(self, router):
        return traefik(router._folder, router._settings.listen)

    def otherwise(self, router, **settings):
        return traefik(router._folder, router._settings.listen, **settings)

    async def empty(self, router):
        await forget(router)

    async def cut(self, router):
        await kill(router._traefik.child)

    async def mend(self, router):
        """`apply` starts it by itself."""
