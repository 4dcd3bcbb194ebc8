"""An Envoy of Crossfade's own, and what tests do to it from outside."""

import asyncio
import os
import signal

import orjson

from crossfade.config.routers import EnvoyRouter as Settings
from crossfade.traffic.routers.envoy import EnvoyRouter


def envoy(folder, listen, **settings):
    return EnvoyRouter(folder, Settings(listen=listen, **settings), environment="production", component="shop")


async def kill(child):
    """End it as a crash would; returns once it is gone."""
    os.kill(child.pid(), signal.SIGKILL)
    while child.running():  # noqa: ASYNC110 - the world is asked, it does not tell
        await asyncio.sleep(0.02)


async def forget(router):
    """Leave Envoy without routes."""
    path = router._envoy.folder / "routes.json"
    response = orjson.loads(path.read_bytes())
    response["resources"][0]["virtual_hosts"] = []
    router._envoy.write("routes", orjson.dumps({**response, "version_info": "nothing"}))
    async with asyncio.timeout(20):
        while (await router._envoy.admin.state()).versions["routes"] != "nothing":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
