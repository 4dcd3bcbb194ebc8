"""An nginx of Crossfade's own, and what tests do to it from outside."""

import asyncio
import os
import signal

from crossfade.config.routers import NginxRouter as Settings
from crossfade.traffic.routers.nginx import NginxRouter


def nginx(folder, listen, **settings):
    return NginxRouter(folder, Settings(listen=listen, **settings), environment="production", component="shop")


async def kill_all(router):
    """Master and workers at once, as a crash of the machine would; returns once they are gone."""
    for pid in router._nginx.members():
        os.kill(pid, signal.SIGKILL)
    while router._nginx.child.running():  # noqa: ASYNC110 - the world is asked, it does not tell
        await asyncio.sleep(0.02)
