"""HAProxy keeps the router contract: one of our own, and one that runs already."""

import asyncio

import pytest
from haproxy_world import forget, haproxy, kill
from traffic_world import visitor

from crossfade.testing.router_contract import RouterContract
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def make(place, require):
    """Makes routers of one target on one address, each as a new Crossfade would; closes it at the end."""
    require("haproxy")
    listen, made = f"127.0.0.1:{free_port()}", []

    def router(**settings):
        made.append(haproxy(place / "routes", **{"listen": listen, **settings}))
        return made[-1]

    yield router
    if made:
        asyncio.run(made[-1].close())


class TestManagedHAProxy(RouterContract):
    @pytest.fixture
    def router(self, make):
        return make()

    def again(self, router):
        return haproxy(router._folder, router._settings.listen)

    async def visit(self, router, requests):
        async with visitor(router.address) as client:
            for _ in range(requests):
                assert (await client.get("/")).status_code == 200

    async def empty(self, router):
        await forget(router)

    async def cut(self, router):
        await kill(router._managed.child)

    async def mend(self, router):
        """`apply` starts it by itself."""
