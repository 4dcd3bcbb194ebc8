"""HAProxy keeps the router contract: one of our own, and one that runs already, by its own socket or its master's."""

import asyncio

import pytest
from haproxy_world import Existing, forget, haproxy, kill
from traffic_world import visitor

from crossfade.core.errors import CrossfadeError
from crossfade.testing.router_contract import RouterContract
from crossfade.traffic.port import Routes
from free_ports import free_port

pytestmark = pytest.mark.real


class TestManagedHAProxy(RouterContract):
    @pytest.fixture
    def router(self, place, require):
        require("haproxy")
        router = haproxy(place / "routes", f"127.0.0.1:{free_port()}")
        yield router
        asyncio.run(router.close())

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


class TestExistingHAProxy(RouterContract):
    master = False

    @pytest.fixture
    def router(self, place, require):
        existing = Existing(place, require("haproxy"), master=self.master)
        router = haproxy(place / "routes", f"127.0.0.1:{free_port()}", socket=existing.socket)
        router.existing = existing
        asyncio.run(self.prepare(router))
        yield router
        asyncio.run(router.close())
        existing.stop()

    async def prepare(self, router):
        """As the how-to page says: let Crossfade write its part, and start HAProxy with it."""
        await router.existing.start()
        nobody = Routes({"blue": (), "green": ()}, 0, "blue")
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(nobody, fence=0)
        assert (caught.value.code, caught.value.where) == ("haproxy.not-prepared", str(router.part))
        assert (await router.observe()).routes is None
        router.existing.stop()
        await router.existing.start(router.part)
        await forget(router)

    def again(self, router):
        return haproxy(router._folder, router._settings.listen, socket=router._settings.socket)

    visit = TestManagedHAProxy.visit
    empty = TestManagedHAProxy.empty

    async def cut(self, router):
        router.existing.stop()

    async def mend(self, router):
        await router.existing.start(router.part)

    @pytest.mark.parametrize("green", [1, 9999])
    async def test_weights_are_exact(self, router, upstreams, green):
        """The same commands as for one of our own, which is asked for many more."""
        await super().test_weights_are_exact(router, upstreams, green, "blue")

    async def test_a_restart_begins_with_what_was_in_force(self, router, upstreams):
        """Nobody has to tell it anything; and the user's own site is left alone."""
        routes = Routes(upstreams, 2500, "blue", 7)
        await router.apply(routes, fence=1)
        assert await router.existing.serves() == "the own site"
        router.existing.stop()
        await router.existing.start(router.part)
        assert await router.confirm(routes)
        assert (await router.observe()).routes == routes
        assert await router.existing.serves() == "the own site"

    async def test_a_changed_set_up_asks_for_a_reload(self, router, upstreams):
        """The traffic moves first, and then it is said what is missing."""
        changed = haproxy(
            router._folder, router._settings.listen, socket=router._settings.socket, override_header="X-Preview"
        )
        routes = Routes(upstreams, 2500, "blue", 7)
        with pytest.raises(CrossfadeError, match="has not loaded our part as it is now"):
            await changed.apply(routes, fence=1)
        assert (await changed.observe()).routes == routes
        router.existing.stop()
        await router.existing.start(router.part)
        await changed.apply(routes, fence=1)
        assert await changed.confirm(routes)
