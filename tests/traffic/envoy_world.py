"""An Envoy of Crossfade's own, and what tests do to it from outside."""

import asyncio

import orjson
from traffic_world import OwnProxy, pids

from crossfade.traffic.routers.envoy import EnvoyRouter


class OwnEnvoy(OwnProxy):
    """The hooks of the contract suites that are Envoy's."""

    kind, program = EnvoyRouter, "envoy"

    def proxy(self, router):
        return pids(router._envoy.child)

    async def empty(self, router):
        path = router._envoy.folder / "routes.json"
        response = orjson.loads(path.read_bytes())
        response["resources"][0]["virtual_hosts"] = []
        router._envoy.write("routes", orjson.dumps({**response, "version_info": "nothing"}))
        async with asyncio.timeout(20):
            while (await router._envoy.admin.state()).versions["routes"] != "nothing":  # noqa: ASYNC110 - the world is asked, it does not tell
                await asyncio.sleep(0.01)
