"""HAProxy keeps the router contract: one of our own, and one that runs already, by its own socket or its master's."""

import asyncio

import pytest
from haproxy_world import Existing, OwnHAProxy
from traffic_world import made

from crossfade.core.errors import CrossfadeError
from crossfade.testing.router_contract import RouterContract
from crossfade.testing.router_traffic_contract import RouterTrafficContract
from crossfade.traffic.port import Routes
from free_ports import free_port

pytestmark = pytest.mark.real


class TestManagedHAProxy(OwnHAProxy, RouterTrafficContract):
    """All of its promises."""


class TestExistingHAProxy(OwnHAProxy, RouterContract):
    master = False

    @pytest.fixture
    def router(self, place, require):
        existing = Existing(place, require("haproxy"), master=self.master)
        router = made(self.kind, place / "routes", f"127.0.0.1:{free_port()}", socket=existing.socket)
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
        await self.empty(router)

    def otherwise(self, router, **settings):
        return super().otherwise(router, socket=router._settings.socket, **settings)

    visit = TestManagedHAProxy.visit

    async def cut(self, router):
        router.existing.stop()

    async def mend(self, router):
        await router.existing.start(router.part)

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
        changed = self.otherwise(router, override_header="X-Preview")
        routes = Routes(upstreams, 2500, "blue", 7)
        with pytest.raises(CrossfadeError, match="has not loaded our part as it is now"):
            await changed.apply(routes, fence=1)
        assert (await changed.observe()).routes == routes
        router.existing.stop()
        await router.existing.start(router.part)
        await changed.apply(routes, fence=1)
        assert await changed.confirm(routes)
