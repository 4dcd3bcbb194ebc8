"""What goes wrong around Traefik, and where it ends."""

import asyncio

import pytest
from traefik_world import OwnTraefik
from traffic_world import UNWIELDY

from crossfade.core.errors import CrossfadeError
from crossfade.testing.instances import quick
from crossfade.testing.router_contract import put
from crossfade.testing.router_faults_contract import RouterFaultsContract
from crossfade.traffic import startup
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Routes
from crossfade.traffic.routers import traefik_config, traefik_process
from crossfade.traffic.routers.route_file import Accepted

pytestmark = pytest.mark.real


def saying(words):
    return f"echo '{words}'; echo '{words}' >&2"


class TestTraefikFaults(OwnTraefik, RouterFaultsContract):
    folder = UNWIELDY
    waking = frozenset({404})
    unfit = (
        (saying("GNU bash"), "router.no-program", "is not Traefik"),
        (saying("Version: 3.5.1"), "router.old-program", "Traefik 3.5.1"),
        (saying("Version: 3.7.1"), "router.ended", "Traefik ended while it was starting: Version: 3.7.1"),
    )

    def private(self, router):
        return [router._folder / name for name in ("token", "traefik/told/dynamic.yml")]

    async def test_what_traefik_refuses_is_told_in_its_words(self, router, upstreams, monkeypatch):
        """A plugin that it does not understand, as a newer Traefik might not."""
        monkeypatch.setattr(traefik_process, "START", 0.2)  # nobody else is starting it
        with monkeypatch.context() as newer:
            newer.setattr(startup, "PATIENCE", 2.0)
            newer.setattr(traefik_config, "_source", lambda _: "package choice\n\nfunc New(")
            with pytest.raises(CrossfadeError) as caught:
                await router.apply(Routes(upstreams, 0, "blue"), fence=1)
            assert caught.value.code == "router.unreachable"
            assert "Plugins are disabled" in caught.value.what
        await put(router, Routes(upstreams, 0, "blue"))

    async def test_lines_of_other_instances_are_not_obeyed(self, router, upstreams):
        """Between a line and the servers that it needs is no instant: the old line serves until they are there."""
        async with quick("3") as third:
            routes = Routes({"blue": upstreams["blue"], "green": ()}, 0, "blue")
            await put(router, routes)
            load = Load(router.address, Plan(rps=150, seed=9, mix={"get": 1}))
            load.start()
            later = Routes({"blue": (), "green": tuple(third)}, 10_000, "green")
            router._file.swap(Accepted(later, 2))  # a writer that was killed between both
            await asyncio.sleep(0.3)
            assert (await router.observe()).routes == routes
            assert not await router.confirm(later)
            await router.apply(later, fence=2)
            assert await router.confirm(later)
            await asyncio.sleep(0.2)
            await load.stop()
        assert causes(load.samples) == {}
        assert {sample.version for sample in load.samples} == {"1", "3"}
