"""A Traefik of Crossfade's own, and what tests do to it from outside."""

import asyncio
import os
import signal

from crossfade.config.routers import TraefikRouter as Settings
from crossfade.traffic.routers.traefik import TraefikRouter
from crossfade.traffic.routers.traefik_config import DYNAMIC, dynamic
from crossfade.traffic.whole_files import replace


def traefik(folder, listen, **settings):
    return TraefikRouter(folder, Settings(listen=listen, **settings), environment="production", component="shop")


async def kill(child):
    """As an accident would; returns once it is gone."""
    os.kill(child.pid(), signal.SIGKILL)
    await child.stop()


async def forget(router):
    """Take everything about the target out of Traefik's configuration; returns once it has no more of it."""
    setup = router._setup(counter=await router._counter.start())
    replace(router._traefik.folder / DYNAMIC, dynamic(setup, None))
    async with asyncio.timeout(20):
        while (await router.observe()).routes is not None:  # noqa: ASYNC110 - the world is asked, it does not tell
            await asyncio.sleep(0.02)
