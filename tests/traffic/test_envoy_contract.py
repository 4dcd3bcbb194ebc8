"""Envoy keeps the router contract, with visitors on the line too."""

import asyncio

import pytest
from envoy_world import envoy, forget, kill

from crossfade.testing.router_traffic_contract import RouterTrafficContract
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def router(place, require):
    require("envoy")
    made = envoy(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


class TestEnvoy(RouterTrafficContract):
    def again(self, router):
        return envoy(router._folder, router._settings.listen)

    def otherwise(self, router, **settings):
        return envoy(router._folder, router._settings.listen, **settings)

    async def empty(self, router):
        await forget(router)

    async def cut(self, router):
        await kill(router._envoy.child)

    async def mend(self, router):
        """`apply` starts it by itself."""
