"""A Traefik of Crossfade's own, and what tests do to it from outside."""

import asyncio

from traffic_world import OwnProxy, pids

from crossfade.traffic.routers.traefik import TraefikRouter
from crossfade.traffic.routers.traefik_config import DYNAMIC, dynamic
from crossfade.traffic.whole_files import replace


class OwnTraefik(OwnProxy):
    """The hooks of the contract suites that are Traefik's."""

    kind, program = TraefikRouter, "traefik"

    def proxy(self, router):
        return pids(router._traefik.child)

    async def empty(self, router):
        setup = router._setup(counter=await router._counter.start())
        replace(router._traefik.folder / DYNAMIC, dynamic(setup, None))
        async with asyncio.timeout(20):
            while (await router.observe()).routes is not None:  # noqa: ASYNC110 - the world is asked, it does not tell
                await asyncio.sleep(0.02)
